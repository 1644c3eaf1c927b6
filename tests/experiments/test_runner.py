import json
import shutil
from pathlib import Path

import pytest

from cpbench.data.protocol import Protocol, split
from cpbench.errors import CpbenchError
from cpbench.experiments import ceiling, runner
from cpbench.experiments.plan import plan
from cpbench.experiments.runner import run
from cpbench.report.record import load_record
from cpbench.training import loop
from tests.experiments.tiny import place, tiny

SHORT = {"epochs": 2, "width": 8}


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.epochs = 0

    def say(self, text: str) -> None:
        self.lines.append(text)

    warn = say

    def begin(self, label) -> None:
        self.lines.append(label)

    def epoch(self, report) -> None:
        self.epochs += 1

    def end(self, outcome) -> None:
        self.lines.append(outcome.status)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    place(tmp_path / "home", tiny())
    return tmp_path / "home"


def go(results: Path, force: bool = False, overrides=SHORT, **options) -> tuple[list, Notes]:
    notes = Notes()
    cells = plan(["sasrec"], ["tiny"], [1], overrides=overrides, **options)
    return run(cells, results, notes, force=force, device="cpu"), notes


def test_done_is_skipped_and_force_repeats(tmp_path):
    (first,), notes = go(tmp_path)
    assert first.status == "done" and notes.epochs == 2
    (second,), notes = go(tmp_path)
    assert second.status == "skipped" and notes.epochs == 0 and second.record == first.record
    (third,), notes = go(tmp_path, force=True)
    assert third.status == "done" and notes.epochs == 2 and third.record.metrics == first.record.metrics


def test_a_run_whose_ranks_are_gone_is_done_again(tmp_path):
    (first,), _ = go(tmp_path)
    (first.folder / "ranks.parquet").unlink()
    (again,), notes = go(tmp_path)
    assert again.status == "done" and any("its ranks are gone" in line for line in notes.lines)
    assert again.record.test_looks == 2 and (first.folder / "ranks.parquet").is_file()


def test_other_data_or_another_recipe_is_another_run(tmp_path, home, monkeypatch):
    go(tmp_path)
    shutil.rmtree(home / "prepared" / "tiny")
    place(home, tiny(seed=6))
    (changed,), notes = go(tmp_path)
    assert changed.status == "done" and any("the data have changed since this run was recorded" in line
                                            for line in notes.lines)
    path = changed.folder / "record.json"
    document = json.loads(path.read_text())
    document["config"]["dropout"] = 0.9
    path.write_text(json.dumps(document))
    (again,), notes = go(tmp_path)
    assert again.status == "done" and any("the recipe has changed" in line for line in notes.lines)


def test_a_setting_that_cpbench_has_learned_since_asks_for_no_new_run(tmp_path):
    (first,), _ = go(tmp_path)
    path = first.folder / "record.json"
    document = json.loads(path.read_text())
    del document["config"]["request_time"]  # at its default
    path.write_text(json.dumps(document))
    assert go(tmp_path)[0][0].status == "skipped"
    del document["config"]["width"]  # given on the command line: the run may have had another
    path.write_text(json.dumps(document))
    assert go(tmp_path)[0][0].status == "done"


def test_an_unreadable_record_is_not_overwritten_unasked(tmp_path):
    (first,), _ = go(tmp_path)
    (first.folder / "record.json").write_text("{")
    (second,), _ = go(tmp_path)
    assert second.status == "failed" and "is damaged" in str(second.error) and "--force" in str(second.error)
    assert go(tmp_path, force=True)[0][0].status == "done"


def test_a_crash_in_a_model_is_one_failed_cell(tmp_path, monkeypatch):
    def crash(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(runner, "train", crash)
    (outcome,), notes = go(tmp_path)
    assert outcome.status == "failed" and str(outcome.error).startswith("RuntimeError: out of memory")
    assert notes.lines[-1] == "failed" and not list(tmp_path.rglob("*.unfinished"))


def test_a_state_of_other_settings_is_not_continued(tmp_path, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(self, report):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Notes, "epoch", stop)
        with pytest.raises(Stop):
            go(tmp_path)
    (unfinished,) = tmp_path.rglob("*.unfinished")
    document = json.loads((unfinished / "run.json").read_text())
    (_, notes) = go(tmp_path)
    assert "continuing where it was interrupted" in notes.lines and notes.epochs == 1

    with monkeypatch.context() as patch:
        patch.setattr(Notes, "epoch", stop)
        with pytest.raises(Stop):
            go(tmp_path, force=True)
    document["config"]["dropout"] = 0.9
    (unfinished / "run.json").write_text(json.dumps(document))
    (_, notes) = go(tmp_path, force=True)
    assert notes.epochs == 2 and not unfinished.exists()


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (first,), _ = go(tmp_path)
    litter = first.folder.parent / f".{first.folder.name}.abcdef"
    litter.mkdir()
    go(tmp_path, force=True)
    assert not litter.exists() and [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


def test_what_a_killed_process_had_set_aside_is_found_again(tmp_path, monkeypatch):
    """Killed between the two renames that replace a folder: a record, and the state of a training."""
    (first,), _ = go(tmp_path)
    set_aside(first.folder)
    (second,), notes = go(tmp_path)
    assert second.status == "skipped" and notes.epochs == 0 and second.record == first.record
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]

    with monkeypatch.context() as patch:
        patch.setattr(Notes, "epoch", lambda notes, _: _stop_after(notes, 1, KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path, force=True)
    (unfinished,) = tmp_path.rglob("*.unfinished")
    set_aside(unfinished / "training")
    shutil.rmtree(first.folder)
    (third,), notes = go(tmp_path)
    assert "continuing where it was interrupted" in notes.lines and notes.epochs == 1
    assert third.record.metrics == first.record.metrics


def set_aside(folder: Path) -> None:
    aside = folder.with_name(f".{folder.name}.old.abcdef")
    aside.mkdir()
    folder.rename(aside / "old")


def test_the_temporal_split_and_the_lag_have_records_of_their_own(tmp_path):
    (plain,), _ = go(tmp_path)
    (lagged,), _ = go(tmp_path, serving_lags=[7200])
    (temporal,), _ = go(tmp_path, split="temporal")
    assert len({outcome.folder.parent.parent.name for outcome in (plain, lagged, temporal)}) == 3
    assert temporal.record.protocol.split == "temporal"


def test_a_simulated_dataset_gets_a_ceiling_once(tmp_path, monkeypatch):
    from cpbench.data.streaming import oracle

    calls = []

    def best(folder, part):
        calls.append(folder)
        return {"HR@10": 0.9, "NDCG@10": 0.6, "MRR": 0.5}

    monkeypatch.setattr(oracle, "ceiling", best)
    part = split(tiny("streaming"), Protocol(exclude_seen=False))
    for _ in range(2):
        ceiling.record_ceiling(part, tmp_path, print)
    assert len(calls) == 1 and calls[0].name == "streaming"
    made = load_record(tmp_path / "streaming" / "leave-one-out,seen=kept" / "oracle" / "ceiling")
    assert made.metrics.test["HR@10"] == 0.9 and made.model == "oracle"
    ceiling.record_ceiling(split(tiny(), Protocol()), tmp_path, print)
    assert not (tmp_path / "tiny").exists()


def test_a_missing_ceiling_stops_no_model(tmp_path, monkeypatch):
    def fail(*_):
        raise CpbenchError("no truth")

    monkeypatch.setattr(runner, "record_ceiling", fail)
    (outcome,), notes = go(tmp_path)
    assert outcome.status == "done" and "the ceiling of tiny was not recorded: no truth" in notes.lines


def test_runs_that_differ_in_the_lag_alone_are_trained_once(tmp_path, monkeypatch):
    """...and have the numbers of runs that are trained alone, also where one of them stops earlier."""
    trained = []
    one_epoch = loop._one_epoch
    monkeypatch.setattr(loop, "_one_epoch", lambda *given: trained.append(given[-1]) or one_epoch(*given))
    overrides = {**SHORT, "epochs": 12, "patience": 1, "learning_rate": 0.1}
    cells = [cell for lag in (0, 3600, 7200)
             for cell in plan(["sasrec"], ["tiny"], [1], overrides=overrides, serving_lags=[lag])]
    alone = [run([cell], tmp_path / "alone", Notes(), device="cpu")[0].record for cell in cells]
    epochs = [record.cost.epochs for record in alone]
    assert len(set(epochs)) > 1 and len(trained) == sum(epochs)

    class Stop(BaseException):
        pass

    trained.clear()
    with monkeypatch.context() as patch:  # killed while the second one replays what the first one did
        patch.setattr(Notes, "epoch", lambda notes, _: _stop_after(notes, epochs[0] + 1, Stop))
        with pytest.raises(Stop):
            run(cells, tmp_path / "shared", Notes(), device="cpu")
    together = [outcome.record for outcome in run(cells, tmp_path / "shared", Notes(), device="cpu")]
    assert trained == list(range(1, max(epochs) + 1))
    for one, other in zip(alone, together, strict=True):
        assert one.metrics == other.metrics and one.cost.best_epoch == other.cost.best_epoch
        assert one.cost.epochs == other.cost.epochs and other.cost.fit_seconds > 0
    assert not list((tmp_path / "shared").rglob("*.tape")) and not list((tmp_path / "shared").rglob("*.unfinished"))


def _stop_after(notes: Notes, epochs: int, error: type[BaseException]) -> None:
    notes.epochs += 1
    if notes.epochs == epochs:
        raise error
