import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from cpbench.baselines.hstu import HSTU, HSTUConfig
from cpbench.baselines.sasrec import SASRec, SASRecConfig
from safetensors import SafetensorError

from cpbench.data import synthetic
from cpbench.data.protocol import Protocol, Split, split
from cpbench.errors import CpbenchError, UsageError
from cpbench.evaluation.evaluate import evaluate
from cpbench.models.base import Facts, NeuralRecommender, Sequences
from cpbench.models.registry import model_class
from cpbench.training import checkpoint, precision
from cpbench.training.config import TrainingConfig
from cpbench.training.loop import EpochReport, TrainingResult, choose_device, seed_everything, train
from tests.random_data import dataset, ragged


@pytest.fixture(scope="module")
def data() -> Split:
    return split(ragged(60), Protocol())


def build(data: Split, kind: type[SASRec] = SASRec, seed: int = 1, **config: Any) -> SASRec:
    seed_everything(seed, 0)
    return kind(SASRecConfig(**{"width": 8, "length": 6, "dropout": 0.2, **config}), Facts.of(data.dataset))


def settings(**keys: Any) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 4, "batch_size": 16, "learning_rate": 0.01, **keys})


def outcome(model: SASRec, data: Split, result: TrainingResult) -> list[float]:
    return [*evaluate(model, data, data.test).ranks.tolist(), *(row["loss"] for row in result.curve)]


def test_same_seed_same_numbers_another_seed_other_numbers(data: Split) -> None:
    first, second, other = build(data), build(data), build(data, seed=2)
    results = [train(model, data, settings(), seed) for model, seed in ((first, 1), (second, 1), (other, 2))]
    assert outcome(first, data, results[0]) == outcome(second, data, results[1])
    assert outcome(first, data, results[0]) != outcome(other, data, results[2])


@pytest.mark.parametrize("killed_after", [1, 3])
@pytest.mark.parametrize("keys", [{}, {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine",
                                       "warmup_steps": 5, "clip_norm": 0.5}])
def test_a_killed_run_resumes_to_the_same_numbers(data: Split, tmp_path: Path, killed_after: int,
                                                   keys: dict[str, Any]) -> None:
    class KilledError(Exception):
        pass

    def kill(report: EpochReport) -> None:
        if report.epoch == killed_after:
            raise KilledError

    whole = build(data)
    expected = outcome(whole, data, train(whole, data, settings(**keys), 1))
    with pytest.raises(KilledError):
        train(build(data), data, settings(**keys), 1, tmp_path / "state", on_epoch=kill)
    resumed = build(data)
    result = train(resumed, data, settings(**keys), 1, tmp_path / "state")
    assert outcome(resumed, data, result) == expected
    assert [row["epoch"] for row in result.curve] == [1, 2, 3, 4]


def test_a_state_that_was_set_aside_to_be_replaced_is_found_again(data: Split, tmp_path: Path) -> None:
    state, aside = tmp_path / "state", tmp_path / ".state.old.abcdef"  # as a kill between two renames leaves it
    trained = train(build(data), data, settings(epochs=2), 1, state)
    aside.mkdir()
    state.rename(aside / "old")
    assert train(build(data), data, settings(epochs=2), 1, state) == trained


def test_the_best_weights_are_kept_not_the_last(data: Split) -> None:
    model = build(data)
    result = train(model, data, settings(epochs=8, learning_rate=0.05), 1)
    values = {row["epoch"]: row["valid"]["NDCG@10"] for row in result.curve}
    assert result.best_epoch == min(epoch for epoch, value in values.items() if value == max(values.values()))
    assert evaluate(model, data, data.valid).metrics["NDCG@10"] == values[result.best_epoch]


def test_patience_stops_and_validation_may_be_rarer(data: Split) -> None:
    result = train(build(data, dropout=0.0), data, settings(epochs=200, patience=2, learning_rate=0.05,
                                                             validate_every=2), 1)
    assert result.epochs < 200
    assert result.epochs - result.best_epoch == 4
    assert [row["valid"] is not None for row in result.curve] == [row["epoch"] % 2 == 0 for row in result.curve]


def test_a_time_limit_stops_after_the_epoch_that_passes_it(data: Split) -> None:
    said = list[str]()
    result = train(build(data), data, settings(epochs=50, validate_every=5, max_minutes=1e-6), 1, say=said.append)
    assert (result.epochs, result.best_epoch, result.out_of_time) == (1, 1, True)  # and it is validated
    assert said[-1].startswith("stopped by the clock at epoch 1 of 50 (max_minutes = 1e-06)")
    for enough in (settings(epochs=2, max_minutes=60), settings(epochs=1, max_minutes=1e-6)):
        assert not train(build(data), data, enough, 1).out_of_time


def test_bfloat16_trains(data: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    low, full = build(data), build(data)
    results = [train(low, data, settings(precision="bfloat16"), 1, device="cpu"),
               train(full, data, settings(), 1, device="cpu")]
    assert [result.precision for result in results] == ["bfloat16", "float32"]
    assert low.items.weight.dtype == torch.float32
    losses = [result.curve[-1]["loss"] for result in results]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_processor_without_bfloat16_trains_in_float32_and_says_so(data: Split,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    said: list[str] = []
    asked = train(build(data), data, settings(precision="bfloat16"), 1, device="cpu", say=said.append)
    assert said == ["training in float32: this CPU has no instructions for bfloat16"]
    assert asked.precision == "float32"
    plain = train(build(data), data, settings(), 1, device="cpu")
    assert [row["loss"] for row in asked.curve] == [row["loss"] for row in plain.curve]


def test_a_loss_that_is_not_finite_is_one_sentence(data: Split) -> None:
    with pytest.raises(CpbenchError, match=r"the loss of sasrec became (nan|inf) in epoch \d+; lower learning_rate"):
        train(build(data, loss="bce"), data, settings(learning_rate=1e30, epochs=20), 1)


def test_a_diverged_run_leaves_no_state_to_continue_from(data: Split, tmp_path: Path) -> None:
    def explode(report: EpochReport) -> None:
        with torch.no_grad():
            model.items.weight.fill_(torch.nan)

    model = build(data)
    with pytest.raises(CpbenchError):
        train(model, data, settings(), 1, tmp_path / "state", on_epoch=explode)
    assert not (tmp_path / "state").exists()


def test_scores_that_are_nan_leave_no_state_to_continue_from(data: Split, tmp_path: Path) -> None:
    def validate(model: NeuralRecommender) -> dict[str, float]:
        if (tmp_path / "state").exists():
            with torch.no_grad():
                next(model.parameters()).fill_(torch.nan)
        return evaluate(model, data, data.valid).metrics

    with pytest.raises(CpbenchError, match="NaN scores"):
        train(build(data), data, settings(), 1, tmp_path / "state", validate=validate, tape=tmp_path / "tape")
    assert not (tmp_path / "state").exists() and [path.name for path in (tmp_path / "tape").iterdir()] == ["1"]


@pytest.mark.parametrize(("folder", "nth"), [("state", 3), ("3", 1)])
def test_a_full_disk_costs_no_epoch_that_was_saved(data: Split, tmp_path: Path, folder: str, nth: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when the third state cannot be written nor when the third epoch of the tape cannot."""
    state, tape = tmp_path / "state", tmp_path / "tape"
    whole = build(data)
    expected = outcome(whole, data, train(whole, data, settings(), 1))
    save, written = checkpoint.save_file, []

    def fails(tensors: dict[str, torch.Tensor], path: Path) -> None:
        written.append(path.parent.name.split(".")[1])  # .NAME.abcdef, which is to become NAME
        if written.count(folder) == nth and written[-1] == folder:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", fails)
        with pytest.raises(CpbenchError, match=r"cannot write .* No space left on device"):
            train(build(data), data, settings(), 1, state, tape=tape)
    assert json.loads((state / "progress.json").read_text())["epoch"] == 2
    resumed = build(data)
    assert outcome(resumed, data, train(resumed, data, settings(), 1, state, tape=tape)) == expected


def test_nothing_to_train_on_is_one_sentence() -> None:
    data = split(dataset([3] * 5), Protocol())
    with pytest.raises(UsageError, match="no user with two training interactions"):
        train(build(data), data, settings(), 1)


def test_a_damaged_checkpoint_is_one_sentence(data: Split, tmp_path: Path) -> None:
    train(build(data), data, settings(epochs=1), 1, tmp_path / "state")
    (tmp_path / "state" / "state.safetensors").write_bytes(b"truncated")
    with pytest.raises(CpbenchError, match=r"checkpoint .* is damaged"):
        train(build(data), data, settings(), 1, tmp_path / "state")


def test_checkpoints_are_data_not_code(data: Split, tmp_path: Path) -> None:
    train(build(data), data, settings(epochs=1), 1, tmp_path / "state")
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["progress.json", "state.safetensors"]
    assert json.loads((tmp_path / "state" / "progress.json").read_text())["epoch"] == 1


def test_the_optimizer_is_what_the_settings_say(data: Split) -> None:
    from cpbench.training.loop import _optimizer

    groups = [_optimizer(build(data), settings(**keys)).param_groups[0] for keys in ({}, {"beta2": 0.98})]
    assert [group["betas"] for group in groups] == [(0.9, 0.999), (0.9, 0.98)]


def test_an_absent_device_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="device 'gpu7' is not available here; use auto, cpu or cuda"):
        choose_device("gpu7")


class AsksTheLast(SASRec):
    """One position of each sequence."""

    asks_one_position = True  # type: ignore[assignment]

    def training_loss(self, batch: Sequences) -> tuple[torch.Tensor, dict[str, float]]:
        return super().training_loss(replace(batch, one_target=True))


@pytest.mark.parametrize(("kind", "one_target"), [(SASRec, False), (SASRec, True), (AsksTheLast, False)])
def test_length_groups_add_up_to_the_gradient_of_the_whole_step(data: Split, kind: type[SASRec],
                                                                one_target: bool) -> None:
    """One padded batch a step is the reference; in bits they differ, as sums in another order do."""
    whole, grouped = (
        [row["loss"] for row in train(build(data, kind, dropout=0.0, loss="softmax"), data,
                                      settings(epochs=6, length_groups=groups, one_target=one_target), 1).curve]
        for groups in (1, 4))
    assert whole[-1] < 0.95 * whole[0]
    assert grouped == pytest.approx(whole, rel=1e-5)


def test_with_one_target_only_the_last_interaction_is_a_target(data: Split) -> None:
    model = build(data, dropout=0.0).eval()
    items = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    batch = Sequences(items, items * 60, torch.tensor([4, 2]), one_target=True)
    hidden = model.hidden(batch.inputs())[[0, 1], [2, 0]]
    expected = model.catalogue_loss(hidden, torch.tensor([4, 6]))
    assert torch.allclose(model.training_loss(batch)[0], expected)
    everywhere = model.training_loss(replace(batch, one_target=False))[0]
    assert not torch.allclose(everywhere, expected)


def test_one_target_trains_and_what_cannot_says_so(data: Split) -> None:
    curves = [train(build(data), data, settings(epochs=2, one_target=one), 1).curve for one in (True, False)]
    assert curves[0][1]["loss"] < curves[0][0]["loss"] and curves[0] != curves[1]
    other = HSTU(HSTUConfig(width=8, length=6), Facts.of(data.dataset))
    with pytest.raises(UsageError, match="hstu cannot be trained with one_target = true"):
        train(other, data, settings(one_target=True), 1)


def test_one_target_has_no_windows_to_draw(data: Split) -> None:
    with pytest.raises(UsageError, match="one_target = true and random_windows = true exclude each other"):
        train(build(data), data, settings(one_target=True, random_windows=True), 1)


def test_two_threads_give_the_same_weights_again() -> None:
    """Batches large enough for torch to share a sum among threads: many of them fall on the same few items."""
    large = split(synthetic.from_sequences([[(user * step) % 20 for step in range(60)] for user in range(300)], 20),
                  Protocol())
    threads, fixed = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)  # whatever ran before: training itself must ask for it
    try:
        weights = []
        for _ in range(3):
            torch.manual_seed(1)
            model = SASRec(SASRecConfig(width=16, blocks=1, loss="bce"), Facts.of(large.dataset))
            train(model, large, settings(epochs=1, batch_size=300), 1)
            weights.append(model.items.weight.detach().clone())
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(fixed)
    assert all(torch.equal(weights[0], other) for other in weights[1:])


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1.0), ("linear", 0.1), ("cosine", 0.1)])
def test_schedules_end_where_they_say(schedule: str, last: float) -> None:
    from cpbench.training.loop import _rate

    config = TrainingConfig(schedule=schedule, warmup_steps=10)
    rates = [_rate(config, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(last)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_a_model_that_no_loop_trains_is_refused(data: Split) -> None:
    counts = model_class("item-knn")
    with pytest.raises(UsageError, match="ItemKNN is not trained by gradients: call its `fit`"):
        train(counts(counts.Config(), Facts.of(data.dataset)), data, settings(), seed=1)  # type: ignore[arg-type]
