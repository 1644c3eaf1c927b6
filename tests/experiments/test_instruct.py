"""Runs with a condition: pre-training first, then the stage that obeys; interrupted, repeated, refused."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import scipy
import torch
from cpbench.baselines.ease import EASE

from cpbench.climber_pilot.instructed import InstructedPilot
from cpbench.climber_pilot.model import ClimberPilot
from cpbench.data.protocol import Protocol, split
from cpbench.evaluation.conditional import with_conditions
from cpbench.evaluation.evaluate import evaluate
from cpbench.experiments.plan import plan
from cpbench.experiments.runner import run
from cpbench.experiments.stored import load_run
from cpbench.models.base import Facts
from cpbench.models.conditions import Conditions, facts_with_conditions
from tests.experiments.test_runner import Notes
from tests.experiments.tiny import place, tiny

SHORT = {"epochs": 2, "width": 8, "category_width": 2, "layers": 1, "patience": 9, "sft.epochs": 3, "sft.patience": 9}
FIRST = {key: value for key, value in SHORT.items() if not key.startswith("sft.")}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    place(tmp_path / "home", tiny())
    return tmp_path / "home"


def go(results: Path, model: str = "climber-pilot", condition: str | None = "genre", overrides=SHORT, notes=None,
       **options) -> tuple[list, Notes]:
    notes = notes or Notes()
    cells = plan([model], ["tiny"], [1], overrides=overrides, condition=condition, **options)
    return run(cells, results, notes, device="cpu"), notes


def test_pretraining_comes_first_and_is_not_repeated(tmp_path):
    (first,), notes = go(tmp_path)
    assert first.status == "done", first.error
    assert notes.epochs == 2 + 3
    assert [line.split(":")[0] for line in notes.lines if line.startswith(("first", "fine-"))] == [
        "first, without the condition", "fine-tuning on condition genre"]
    base = tmp_path / first.record.stages[0].run
    assert base.parent.parent.name == "leave-one-out" and (base / "model").is_dir()
    (again,), notes = go(tmp_path)
    assert again.status == "skipped" and notes.epochs == 0 and again.record == first.record
    (other,), notes = go(tmp_path, overrides={**SHORT, "sft.method": "pinrec"})
    assert other.status == "done" and notes.epochs == 3  # from the same pre-training
    assert other.record.stages[0].run == first.record.stages[0].run and other.folder != first.folder
    (alone,), notes = go(tmp_path, condition=None, overrides=FIRST)
    assert alone.status == "skipped" and alone.folder == base


def test_a_pretraining_whose_model_is_gone_is_done_again(tmp_path):
    """As after a clone of records that come without models."""
    (base,), _ = go(tmp_path, condition=None, overrides=FIRST)
    shutil.rmtree(base.folder / "model")
    (outcome,), notes = go(tmp_path)
    assert outcome.status == "done" and any("its model is gone" in line for line in notes.lines)
    assert (base.folder / "model").is_dir()
    (again,), _ = go(tmp_path, condition=None, overrides=FIRST)
    assert again.status == "skipped" and again.record.metrics == base.record.metrics


def test_the_record_says_what_each_stage_was_worth(tmp_path):
    (outcome,), _ = go(tmp_path, exclude_seen=False)
    record = outcome.record
    assert record.protocol.condition == "genre" and record.obeys == "model"
    assert record.information == ["times", "categories", "condition"]
    first, second = record.stages
    assert list(first.metrics) == ["none", "post-filter", "hard-filter"] and first.epochs == 2
    assert list(second.metrics) == ["none", "model", "model+filter"] and second.epochs == 3
    assert second.metrics["model"] == record.metrics.test and record.cost.epochs == 3
    assert first.metrics["hard-filter"]["CC@10"] == second.metrics["model+filter"]["CC@10"] == 1.0
    assert record.cost.fit_seconds == pytest.approx(first.fit_seconds + second.fit_seconds)
    assert record.config["sft.epochs"] == 3 and record.config_sources["sft.epochs"] == "--set"
    assert record.config["epochs"] == 2 and record.notes["events_without_condition"] == 0
    assert "NDCG@10" in record.metrics.valid and record.notes["events"] == 40

    made = split(tiny(), Protocol(exclude_seen=False))
    events, given = with_conditions(made, made.test, Conditions(facts_with_conditions(made), "genre"))
    pretrained = ClimberPilot.load(tmp_path / first.run / "model")
    for how, metrics in first.metrics.items():
        assert evaluate(pretrained, made, events, given=given.obeyed(how)).metrics == pytest.approx(metrics)
    tuned = InstructedPilot.load(outcome.folder / "model")
    for how, metrics in second.metrics.items():
        assert evaluate(tuned, made, events, given=given.obeyed(how)).metrics == pytest.approx(metrics)


class StopError(BaseException):
    pass


class Stopping(Notes):
    """Interrupts after so many epochs."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def epoch(self, report) -> None:
        super().epoch(report)
        if self.epochs == self.after:
            raise StopError


@pytest.mark.parametrize("after", [1, 4])
def test_what_was_interrupted_ends_in_the_same_numbers(tmp_path, after):
    whole = go(tmp_path / "whole")[0][0].record
    with pytest.raises(StopError):
        go(tmp_path / "broken", notes=Stopping(after))
    (outcome,), notes = go(tmp_path / "broken")
    assert "continuing where it was interrupted" in notes.lines and notes.epochs == 5 - after
    assert outcome.record.metrics == whole.metrics
    assert [stage.metrics for stage in outcome.record.stages] == [stage.metrics for stage in whole.stages]
    assert not list(tmp_path.rglob("*.unfinished"))


@pytest.mark.parametrize("condition", ["genre", "freshness", "popularity"])
def test_the_stored_model_is_the_one_that_was_measured(tmp_path, condition):
    (outcome,), _ = go(tmp_path, condition=condition)
    assert outcome.status == "done", outcome.error
    stored = load_run(str(outcome.folder), tmp_path)
    assert isinstance(stored.model, InstructedPilot) and stored.split.protocol.condition == condition
    conditions = Conditions(facts_with_conditions(stored.split), condition)
    events, given = with_conditions(stored.split, stored.split.test, conditions)
    found = evaluate(stored.model, stored.split, events, given=given.obeyed("model"))
    assert found.metrics == pytest.approx(outcome.record.metrics.test)
    table = pl.read_parquet(outcome.folder / "ranks.parquet")
    assert table["rank"].to_list() == found.ranks.tolist() and table["target"].to_list() == events.target.tolist()
    assert ("request time" in outcome.record.information) == (condition == "freshness")


def test_a_counting_model_is_filtered(tmp_path, monkeypatch):
    monkeypatch.setattr(EASE, "libraries", ("scipy",))
    (outcome,), _ = go(tmp_path, model="ease", overrides={}, exclude_seen=False)
    record = outcome.record
    assert record.obeys == "hard-filter" and [stage.name for stage in record.stages] == ["pre-training"]
    assert record.metrics.test == record.stages[0].metrics["hard-filter"] and record.metrics.test["CC@10"] == 1.0
    assert record.information == ["condition"] and record.cost.epochs == 0
    assert record.versions["scipy"] == scipy.__version__  # with a condition, too
    stored = load_run(str(outcome.folder), tmp_path)
    assert isinstance(stored.model, EASE)


@pytest.mark.parametrize("wrong", ["nonsense", "gendre"])
def test_a_condition_that_the_data_lack_is_refused_before_any_training(tmp_path, wrong):
    (outcome,), notes = go(tmp_path, condition=wrong)
    assert outcome.status == "failed" and outcome.error.exit_code == 2 and notes.epochs == 0
    assert f"unknown condition '{wrong}'" in str(outcome.error)
    assert "Known: freshness, genre, popularity" in str(outcome.error)
    assert not list(tmp_path.rglob("record.json")) and not list(tmp_path.rglob("*.unfinished"))


def test_a_horizon_under_a_condition_keeps_every_step(tmp_path):
    (outcome,), _ = go(tmp_path, model="ease", overrides={}, horizon=3)
    assert outcome.status == "done", outcome.error
    table = pl.read_parquet(outcome.folder / "ranks.parquet")
    assert {"rank", "rank 2", "rank 3"} <= set(table.columns)
    assert outcome.record.metrics.test["HR@10/step 3"] == pytest.approx((table["rank 3"] <= 10).mean())


def test_a_dataset_without_attributes_can_ask_for_popularity(tmp_path, home):
    bare = tiny("bare")
    place(home, type(bare)(**{**vars(bare), "item_table": bare.item_table.drop("genre")}))
    cells = plan(["climber-pilot"], ["bare"], [1], overrides={**SHORT, "sft.epochs": 1}, condition="popularity")
    (outcome,) = run(cells, tmp_path, Notes(), device="cpu")
    assert outcome.status == "done", outcome.error
    base = ClimberPilot.load(tmp_path / outcome.record.stages[0].run / "model")
    assert base.category is None and load_run(str(outcome.folder), tmp_path).model.pilot.category is None


def test_the_stage_starts_from_the_pretrained_weights():
    torch.manual_seed(0)
    facts = Facts.of(tiny())
    pretrained = ClimberPilot(ClimberPilot.Config(width=8, category_width=2), facts)
    tuned = InstructedPilot.build({"method": "cgsa"}, pretrained, "genre", facts)
    for name, tensor in pretrained.tensors().items():
        assert torch.equal(tuned.tensors()[f"pilot.{name}"], tensor)
