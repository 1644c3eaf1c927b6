import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from cpbench.baselines.tiger.model import TIGER, TIGERConfig
from cpbench.baselines.tiger.tokeniser import Tokeniser
from pydantic import ValidationError

from cpbench.data.protocol import Protocol, split
from cpbench.errors import UsageError
from cpbench.evaluation.conditional import with_conditions
from cpbench.evaluation.evaluate import evaluate
from cpbench.models.base import Facts, Histories
from cpbench.models.conditions import Conditions
from cpbench.training.config import TrainingConfig
from cpbench.training.loop import train
from tests.baselines.tiger.small import SMALL, built
from tests.experiments.tiny import tiny
from tests.random_data import ragged

HISTORIES = Histories.of_lists([[3, 1, 4], [5], [9, 2, 6, 5, 3, 5, 8, 9]])


def trained(folder: Path | None = None, epochs: int = 2, **config: Any) -> TIGER:
    torch.manual_seed(3)
    model = TIGER(TIGERConfig(**{**SMALL, "dropout": 0.1, **config}), Facts.of(tiny()))
    train(model, split(tiny(), Protocol()), TrainingConfig(epochs=epochs, batch_size=8), 1, folder, device="cpu")
    return model.requires_grad_(False)


def test_the_same_seed_gives_the_same_model_and_a_resumed_run_too(tmp_path: Path) -> None:
    whole = trained()
    trained(tmp_path / "state", epochs=1)
    again, resumed = trained(), trained(tmp_path / "state")
    for other in (again, resumed):
        assert torch.equal(whole.codes, other.codes)
        assert torch.equal(whole.score(HISTORIES), other.score(HISTORIES))


@torch.no_grad()
def test_the_model_is_stored_with_its_tokeniser(tmp_path: Path) -> None:
    model = built()
    model.save(tmp_path / "model")
    assert sorted(str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*.*")) == [
        "model.json", "model.safetensors", "tokeniser/codes.safetensors", "tokeniser/tokeniser.json"]
    loaded = TIGER.load(tmp_path / "model").eval()
    assert torch.equal(loaded.score(HISTORIES), model.score(HISTORIES))
    assert loaded.remarks == model.remarks and "codes used" in loaded.remarks[0]
    stored = built(tokens=str(tmp_path / "model" / "tokeniser"))
    assert torch.equal(stored.codes, model.codes)
    with pytest.raises(UsageError, match="this tokeniser was made for random"):
        built(ragged(20), tokens=str(tmp_path / "model" / "tokeniser"))
    replace(Tokeniser.load(tmp_path / "model" / "tokeniser"), codes=model.codes.flip(0)).write(
        tmp_path / "model" / "tokeniser")
    with pytest.raises(UsageError, match="is not the one that the model was trained with"):
        TIGER.load(tmp_path / "model")


def test_training_is_not_continued_with_other_semantic_ids() -> None:
    model = built()
    with pytest.raises(UsageError, match=r"belongs to other semantic ids .*--force"):
        model.load_tensors({**model.tensors(), "codes": model.codes.flip(0)})


@torch.no_grad()
def test_it_is_ranked_by_its_beam() -> None:
    dataset = ragged(40, n_items=60)
    model, part = built(dataset, beam=10), split(dataset, Protocol())
    found = evaluate(model, part, part.test)
    assert found.notes["beam"] == 10
    assert set(found.metrics) >= {"HR@10", "NDCG@10", "HR@10/low", "coverage@10"}
    assert not {"HR@20", "HR@50", "NDCG@20", "MRR"} & set(found.metrics)
    histories = Histories.of_events(dataset, part.test)
    ids, _ = model.recommend(histories, 10)
    targets = dataset.items[part.test.target]
    for rank, row, target, seen in zip(found.ranks, ids.tolist(), targets, histories.seen(60), strict=True):
        assert rank == (row.index(target) + 1 if target in row and not seen[target] else math.inf)
    whole = evaluate(built(dataset, beam=60), part, part.test)
    assert "MRR" in whole.metrics and "HR@50" in whole.metrics and "beam" not in whole.notes


@torch.no_grad()
def test_conditions_are_met_by_filters_only() -> None:
    dataset = ragged(40, n_items=60)
    model, part = built(dataset, beam=20), split(dataset, Protocol())
    events, given = with_conditions(part, part.test, Conditions(Facts.of(dataset), "genre"))
    hard = evaluate(model, part, events, given=given.obeyed("hard-filter"))
    post = evaluate(model, part, events, given=given.obeyed("post-filter"))
    assert hard.metrics["CC@10"] > post.metrics["CC@10"] > evaluate(
        model, part, events, given=given.obeyed("none")).metrics["CC@10"]
    with pytest.raises(UsageError, match="tiger is ranked by its beam, which takes no condition"):
        evaluate(model, part, events, given=given.obeyed("model"))


def test_a_catalogue_of_one_item() -> None:
    one = ragged(6, n_items=1)
    for quantiser in ("rk-means", "rq-vae"):
        model = built(one, quantiser=quantiser, rq_epochs=2)
        ids, _ = model.requires_grad_(False).recommend(Histories.of_lists([[0], []]), 1)
        assert ids.tolist() == [[0], [0]]


def test_items_without_titles_but_with_genres_work() -> None:
    dataset = ragged(12, n_items=30)
    bare = replace(dataset, item_table=dataset.item_table.with_columns(title=pl.lit(None, pl.String)))
    assert built(bare).tokeniser.health.without_text > 0
    with pytest.raises(UsageError, match="has any text"):
        built(bare, fields=["title"])


def test_a_beam_that_selection_cannot_use_is_refused() -> None:
    with pytest.raises(ValidationError, match="beam"):
        TIGERConfig(beam=9)
