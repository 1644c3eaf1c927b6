"""RecBole's models, trained by RecBole on our split."""

import logging
import os
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cpbench.data.protocol import Protocol, Split, split
from cpbench.errors import UsageError
from cpbench.evaluation.evaluate import evaluate
from cpbench.models.base import Facts, Histories, Recommender
from cpbench.models.conformance import check
from cpbench.models.registry import family_class, model_class
from tests.experiments.tiny import tiny
from tests.random_data import ragged

pytestmark = pytest.mark.skipif(find_spec("recbole") is None, reason="RecBole is not installed: the extra `recbole`")
QUICK = {"epochs": 2, "train_batch_size": 256, "MAX_ITEM_LIST_LENGTH": 8}
SMALL = {"hidden_size": 16, "n_layers": 1, "inner_size": 16, "hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.1}


def fitted(name: str, part: Split, seed: int = 1, **settings: Any) -> tuple[Recommender, list[dict[str, Any]]]:
    found = model_class(f"recbole:{name}")
    model = found(found.Config(**{**QUICK, **settings}), Facts.of(part.dataset))
    curve = model.fit(part, seed)
    assert curve is not None
    return model, curve


def rows_of(part: Split, length: int) -> set[tuple[int, tuple[int, ...], int]]:
    """User, items before, target: every prefix of every training part, one at a time."""
    found = set()
    for user, (first, last) in enumerate(zip(part.dataset.offsets, part.train_end, strict=False)):
        for target in range(first + 1, last):
            before = part.dataset.items[max(first, target - length):target]
            found.add((user, tuple(before.tolist()), int(part.dataset.items[target])))
    return found


@pytest.mark.parametrize("protocol", [Protocol(), Protocol(split="temporal"), Protocol(serving_lag=1000)])
def test_recbole_trains_on_our_training_part_and_on_nothing_else(protocol: Protocol,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    part = split(ragged(30), protocol)
    model_class("recbole:SASRec")
    from recbole.model.sequential_recommender.sasrec import SASRec

    fed = []
    loss = SASRec.calculate_loss

    def spy(self: Any, batch: Any) -> Any:
        fed.append({name: batch[name].clone() for name in ("user_id", "item_id_list", "item_length", "item_id")})
        return loss(self, batch)

    monkeypatch.setattr(SASRec, "calculate_loss", spy)
    fitted("SASRec", part, epochs=1, **SMALL)
    seen = set()
    for batch in fed:
        for user, items, length, target in zip(*(batch[name].tolist() for name in batch), strict=True):
            assert items[length:] == [0] * (8 - length)
            seen.add((user - 1, tuple(item - 1 for item in items[:length]), target - 1))
    assert seen == rows_of(part, 8)


@pytest.mark.parametrize("protocol", [Protocol(), Protocol(exclude_seen=False), Protocol(serving_lag=1000)])
def test_the_epoch_is_chosen_by_our_validation_metric(protocol: Protocol) -> None:
    part = split(ragged(60, longest=20, n_items=40), protocol)
    model, curve = fitted("SASRec", part, epochs=4, **SMALL, learning_rate=0.01)
    best = max(row["valid"]["NDCG@10"] for row in curve)
    ours = evaluate(model, part, part.valid, only_accuracy=True).ranks
    told = part.valid.end > part.valid.start  # RecBole cannot be asked about an empty history
    gains = np.where(ours <= 10, 1 / np.log2(ours + 1), 0)[told]
    assert gains.mean() == pytest.approx(best, abs=1e-9)
    assert curve[curve[-1]["best_epoch"] - 1]["valid"]["NDCG@10"] == best


def test_same_seed_same_numbers_and_nothing_of_the_process_is_touched(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("sys.argv", ["cpbench", "run", "--epochs=7", "--model=ignored"])  # RecBole would read them

    def state() -> list[Any]:
        return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(),  # type: ignore
                dict(os.environ), Path.cwd(), list(tmp_path.iterdir()), logging.root.manager.disable,
                logging.root.level, list(logging.root.handlers), torch.is_anomaly_enabled(),
                torch.backends.cudnn.deterministic, hasattr(np, "float"), np.bool, np.long]

    part, before = split(ragged(30), Protocol()), state()
    answers = []
    for seed in (1, 1, 2):
        model, curve = fitted("BERT4Rec", part, seed, hidden_size=16)
        assert len(curve) == 2
        answers.append(model.score(Histories.of_lists([[1, 2, 3], [4]])))
        torch.rand(1), np.random.rand(), random.random()
        torch.set_rng_state(torch.tensor(before[0], dtype=torch.uint8))
    np.random.set_state(("MT19937", np.array(before[1], dtype=np.uint32), *np.random.get_state()[2:]))  # type: ignore
    random.setstate(before[2])
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    after = state()
    assert after == before


def test_it_learns_and_survives_a_save(tmp_path: Path) -> None:
    part = split(tiny(), Protocol())
    model, curve = fitted("SASRec", part, epochs=25, learning_rate=0.02, **SMALL)
    assert curve[-1]["loss"] < curve[0]["loss"] / 1.5
    # the next item is one of two; five times better than chance
    assert evaluate(model, part, part.test).metrics["HR@5"] > 5 * 5 / 30
    model.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    again = type(model).load(tmp_path / "model")
    histories = Histories.of_lists([[], [4], list(range(20))])
    assert again.config == model.config
    assert torch.equal(again.score(histories), model.score(histories))
    assert again.n_parameters == model.n_parameters
    assert again.score(histories)[0].tolist() == part.train_counts.tolist()  # an empty history gets popularity


def test_it_conforms() -> None:
    found = model_class("recbole:SASRec")
    config = found.Config(**QUICK, **SMALL).model_copy(update={"epochs": 12, "learning_rate": 0.03})
    assert [result for result in check(found, config) if not result.ok] == []


def test_every_member_trains_scores_and_comes_back(tmp_path: Path) -> None:
    part = split(ragged(30), Protocol())
    histories = Histories.of_events(part.dataset, part.test)
    strangers = Histories(histories.items, histories.times, histories.offsets)
    for name in family_class("recbole").members():  # type: ignore[attr-defined]
        few = {"reranker_CAN_NUM": 10} if name.endswith("CPR") else {}  # of 20 items
        model, _ = fitted(name, part, epochs=1, **few)
        scores = model.score(histories)
        assert scores.shape == (len(histories), 20) and bool(torch.isfinite(scores).all()), name
        known = not torch.equal(scores, model.score(strangers))
        assert known == ("user" in model.information), name
        model.save(tmp_path / name)
        assert torch.equal(type(model).load(tmp_path / name).score(histories), scores), name


def test_attributes_are_needed_where_they_are_read() -> None:
    found = model_class("recbole:SASRecF")
    facts = Facts.of(ragged(3))
    assert found(found.Config(), facts).information == ["categories"]
    with pytest.raises(UsageError, match="recbole:SASRecF needs item attributes, and these items have none"):
        found(found.Config(), Facts(20, {}))
    with pytest.raises(UsageError, match=r"unknown item attribute in selected_features 'gerne'; did you mean 'genre'"):
        found(found.Config(selected_features=["gerne"]), facts)


def test_the_defaults_are_recboles() -> None:
    found = model_class("recbole:GRU4Rec")
    import recbole
    import yaml

    overall = yaml.safe_load((Path(recbole.__file__).parent / "properties" / "overall.yaml").read_text())
    sample = yaml.safe_load((Path(recbole.__file__).parent / "properties" / "dataset" / "sample.yaml").read_text())
    shared = set(found.Config.model_fields) & set(overall | sample)
    assert len(shared) == 9
    assert {key: (overall | sample)[key] for key in shared} == {key: getattr(found.Config(), key) for key in shared}
    assert found.Config().model_dump()["hidden_size"] == 128
    assert model_class("recbole:GCSAN").Config().model_dump()["reg_weight"] == 5e-5


def test_data_without_anything_to_learn() -> None:
    lonely = ragged(1, shortest=3, longest=3)
    with pytest.raises(UsageError, match="no user has two training interactions"):
        fitted("SASRec", split(lonely, Protocol()), **SMALL)
    with pytest.raises(UsageError, match="recbole:FPMC learns from items that were not taken"):
        fitted("FPMC", split(ragged(5, shortest=5, n_items=1), Protocol()))
    with pytest.raises(UsageError, match=r"recbole:SASRec cannot be built with these settings: .*hidden size"):
        fitted("SASRec", split(ragged(5, shortest=5), Protocol()), hidden_size=15)
