"""RecBole's SASRec through the adapter, and ours at the same settings; and RecBole's own atomic files."""

import gzip
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cpbench.data.dataset import Dataset
from cpbench.data.recbole_files import prepare_atomic
from tests.gates.conftest import MIRROR, Trained

ATOMIC = MIRROR.parent / "reference" / "recbole-atomic"
SEEDS = (1, 2, 3)
THEIRS = {"hidden_size": 32, "inner_size": 128, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 20,
          "train_batch_size": 512, "learning_rate": 0.003, "epochs": 25, "stopping_step": 25}
"""A size that RecBole trains in minutes; for the rest its defaults."""
OURS = {"width": 32, "feed_forward": 4, "blocks": 1, "heads": 1, "length": 20, "one_target": "true", "batch_size": 512,
        "learning_rate": 0.003, "epochs": 25, "patience": 25, "validate_every": 1, "dropout": 0.5,
        "attention_dropout": 0.5, "output_dropout": 0.5, "loss": "softmax", "optimizer": "adam", "schedule": "constant",
        "precision": "float32"}
"""The same in our words, and RecBole's defaults where it has none: the same rows, one a target, as often."""


@pytest.mark.gate
@pytest.mark.skipif(find_spec("recbole") is None, reason="RecBole is not installed: the extra `recbole`")
def test_sasrec_of_both_agrees_on_ml_100k(trained: Trained) -> None:
    found = {}
    for model, settings in (("recbole:SASRec", THEIRS), ("sasrec", OURS)):
        options = [f"--set={key}={value}" for key, value in settings.items()]
        records = [trained(model, "ml-100k", f"--seeds={seed}", *options) for seed in SEEDS]
        found[model] = np.array([record["metrics"]["test"]["NDCG@10"] for record in records])
        seconds = [record["cost"]["fit_seconds"] / record["cost"]["epochs"] for record in records]
        print(f"{model}: NDCG@10 {found[model].round(4)}, {np.mean(seconds):.1f} s per epoch with its validation")
    theirs, ours = found.values()
    noise = np.sqrt((theirs.var(ddof=1) + ours.var(ddof=1)) / len(SEEDS))  # of a difference of two means
    assert abs(theirs.mean() - ours.mean()) <= max(3 * noise, 0.005)


@pytest.mark.gate
def test_recboles_own_files_hold_our_sequences(prepared: Callable[[str], Dataset], tmp_path: Path) -> None:
    if not ATOMIC.is_dir():
        pytest.skip("no shared data: RecBole's atomic files are not in ../shared/data/reference")
    for kind in ("inter", "item"):
        with gzip.open(ATOMIC / f"ml-100k.{kind}.gz") as stream:
            (tmp_path / f"ml-100k.{kind}").write_bytes(stream.read())
    theirs, ours = prepare_atomic("theirs", tmp_path / "ml-100k.inter"), prepared("ml-100k")
    assert theirs.user_ids.equals(ours.user_ids)
    assert np.array_equal(theirs.offsets, ours.offsets)
    assert np.array_equal(theirs.times, ours.times)
    assert theirs.item_table["id"].equals(ours.item_table["id"])
    assert np.array_equal(theirs.items, ours.items)
    # its `class` is our genre, without the blank one
    for row, other in zip(theirs.item_table["class"].to_list(), ours.item_table["genre"].to_list(), strict=True):
        assert sorted(row) == sorted(other) or (not other and row == ["unknown"])
