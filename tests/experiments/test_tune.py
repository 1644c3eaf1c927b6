import json
from pathlib import Path
from typing import Any

import pytest

from cpbench.errors import CpbenchError, UsageError
from cpbench.experiments import tune as module
from cpbench.experiments.plan import plan
from cpbench.experiments.runner import run
from cpbench.experiments.search_space import Range, parse_space
from cpbench.experiments.tune import Ledger, possible, searches, tune
from cpbench.training import loop
from tests.experiments.test_runner import Notes
from tests.experiments.tiny import place, tiny

SHORT = {"epochs": 2, "width": 8}
SPACE = ["learning_rate=1e-4..1e-1", "dropout=0.0..0.5"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    place(tmp_path / "home", tiny())
    return tmp_path / "home"


def go(results: Path, trials: int, space: list[str] = SPACE, model: str = "sasrec", minutes: float = 0,
       notes: Notes | None = None, overrides: dict[str, Any] | None = None, **options: Any) -> tuple[Ledger, Notes]:
    notes = notes or Notes()
    cells = plan([model], ["tiny"], [1], overrides=SHORT if overrides is None else overrides)
    ((path, ledger),) = tune(searches(cells, parse_space(space)), trials, minutes, results, notes, device="cpu",
                             **options)
    assert json.loads(path.read_text()) == ledger.model_dump(mode="json")
    assert [path] == [each for each in results.rglob("*") if each.is_file()]  # no state, no lock, no record
    return ledger, notes


def found(ledger: Ledger) -> list[Any]:
    return [trial.model_dump(exclude={"seconds"}) for trial in ledger.trials]


def test_the_recipe_comes_first_and_the_best_is_named(tmp_path: Path) -> None:
    ledger, notes = go(tmp_path / "results", 5)
    assert [trial.number for trial in ledger.trials] == [0, 1, 2, 3, 4]
    assert ledger.trials[0].settings == {}
    assert notes.lines[0] == "sasrec on tiny, the recipe 'tuned' with epochs=2, width=8"
    assert all(set(trial.settings) == {"learning_rate", "dropout"} for trial in ledger.trials[1:])
    assert len({json.dumps(trial.settings) for trial in ledger.trials}) == 5
    assert ledger.best is not None and ledger.best.value == max(trial.value for trial in ledger.trials)
    assert ledger.space == {"learning_rate": "0.0001..0.1", "dropout": "0.0..0.5"} and ledger.config["width"] == 8


def test_a_trial_is_worth_what_a_run_with_its_settings_validates(tmp_path: Path) -> None:
    ledger, _ = go(tmp_path / "results", 2)
    (cell,) = plan(["sasrec"], ["tiny"], [1], overrides=SHORT | ledger.trials[1].settings)
    (outcome,) = run([cell], tmp_path / "runs", Notes(), device="cpu")
    assert outcome.record is not None and outcome.record.metrics.valid == ledger.trials[1].valid


def test_the_test_is_never_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def watched(model: Any, part: Any, events: Any, **options: Any) -> Any:
        looked.append(events is part.valid)
        return real(model, part, events, **options)

    real = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", watched)
    monkeypatch.setattr(module, "evaluate", watched)
    go(tmp_path / "results", 2)
    assert looked and all(looked)


def test_more_trials_continue_as_if_all_had_been_asked_for(tmp_path: Path) -> None:
    whole, _ = go(tmp_path / "whole", 4)
    go(tmp_path / "parts", 2)
    parts, notes = go(tmp_path / "parts", 4)
    assert found(parts) == found(whole)
    assert notes.lines[0].endswith("2 trials are done already") and notes.epochs == 4
    again, notes = go(tmp_path / "parts", 4)
    assert again.model_dump() == parts.model_dump() and notes.epochs == 0


def test_a_search_that_is_killed_continues_to_the_same_trials(tmp_path: Path) -> None:
    class Killed(Notes):
        def epoch(self, report: Any) -> None:
            super().epoch(report)
            if self.epochs == 5:  # the first of the third trial
                raise KeyboardInterrupt

    whole, _ = go(tmp_path / "whole", 4)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "killed", 4, notes=Killed())
    killed, notes = go(tmp_path / "killed", 4)
    assert found(killed) == found(whole) and notes.epochs == 3


def test_what_can_be_counted_is_tried_in_order_and_only_once(tmp_path: Path) -> None:
    ledger, notes = go(tmp_path / "results", 9, ["width=8,4", "blocks=1,2"], overrides={"epochs": 1})
    assert [tuple(trial.settings.values()) for trial in ledger.trials] == [(), (8, 1), (8, 2), (4, 1), (4, 2)]
    assert notes.lines[-1] == "everything in the space has been tried"


def test_settings_that_the_recipe_has_are_not_tried_again(tmp_path: Path) -> None:
    ledger, _ = go(tmp_path / "results", 9, ["ridge=50,200,500"], "ease", overrides={})  # tuned: 200
    assert [trial.settings for trial in ledger.trials] == [{}, {"ridge": 50}, {"ridge": 500}]


@pytest.mark.parametrize(("space", "trials", "expected"), [
    (["dropout=0.1,0.3"], 20, 3), (["blocks=2,3"], 20, 2), (["dropout=0.1,0.3"], 2, 2), (["dropout=0.0..0.5"], 20, 20)])
def test_how_many_trials_there_can_be_is_known_before(space: list[str], trials: int, expected: int) -> None:
    (search,) = searches(plan(["sasrec"], ["tiny"], [1], overrides=SHORT), parse_space(space))
    assert search.base.settings.config["dropout"] not in (0.1, 0.3)
    assert possible(search, trials) == expected


def test_a_countable_space_larger_than_the_trials_is_searched_without_repeating(tmp_path: Path) -> None:
    ledger, _ = go(tmp_path / "results", 12, ["window=1..13"], "seq-item-knn", overrides={})
    tried = [trial.settings.get("window", 5) for trial in ledger.trials]
    assert len(set(tried)) == 12


def test_a_failed_trial_is_a_line_and_the_search_goes_on(tmp_path: Path) -> None:
    ledger, notes = go(tmp_path / "results", 3, ["heads=3,2"], overrides=SHORT | {"blocks": 1})
    assert [trial.error is None for trial in ledger.trials] == [True, False, True]
    assert "cannot be built with these settings" in str(ledger.trials[1].error) and ledger.trials[1].valid is None
    assert ledger.best is not None and ledger.best.number != 1
    assert any("this trial failed" in line for line in notes.lines)


def test_a_full_disk_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*anything: Any) -> Any:
        raise CpbenchError("cannot write") from OSError(28, "No space left on device")

    monkeypatch.setattr(module, "fit", full)
    with pytest.raises(CpbenchError, match="cannot write"):
        go(tmp_path / "results", 3)


def test_no_trial_begins_after_the_time(tmp_path: Path) -> None:
    ledger, _ = go(tmp_path / "results", 9, minutes=1e-9)
    assert len(ledger.trials) == 1


def test_other_data_or_another_recipe_begin_anew(tmp_path: Path, home: Path) -> None:
    old, _ = go(tmp_path / "results", 2)
    place(home, tiny(seed=6))
    new, notes = go(tmp_path / "results", 2)
    assert notes.lines[0] == "data or recipe have changed since this search began: starting again"
    assert new.dataset_fingerprint != old.dataset_fingerprint and len(new.trials) == 2
    forced, notes = go(tmp_path / "results", 1, force=True)
    assert len(forced.trials) == 1 and notes.epochs == 2


def test_a_ledger_that_cannot_be_read(tmp_path: Path) -> None:
    results = tmp_path / "results"
    go(results, 1)
    (path,) = results.rglob("tuning.json")
    path.write_text("{}")
    with pytest.raises(CpbenchError, match="cannot be read as the ledger of a search: start again with --force"):
        go(results, 2)


@pytest.mark.parametrize(("model", "space", "overrides", "sentence"), [
    ("sasrec", ["widht=8,16"], {}, "--try: no setting of sasrec is called 'widht', did you mean 'width'?"),
    ("popularity", [], {}, "there is nothing to vary in popularity"),
    ("sasrec", ["dropout=0.1..1.5"], {}, "dropout = 1.5 should be less than 1"),
    ("sasrec", ["loss=bce,mse"], {}, "loss = 'mse'"),
    ("sasrec", ["width=8,16"], {"width": 8}, "--set fixes width and --try varies it"),
    ("climber-pilot", ["sft.learning_rate=1e-4..1e-2"], {}, "no setting of climber-pilot is called 'sft."),
])
def test_what_cannot_be_searched_is_said_before_any_training(model: str, space: list[str], overrides: dict[str, Any],
                                                             sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        searches(plan([model], ["tiny"], [1], overrides=overrides), parse_space(space))
    assert sentence in str(caught.value)


def test_a_fixed_setting_leaves_the_models_own_space() -> None:
    (search,) = searches(plan(["sasrec"], ["tiny"], [1], overrides={"width": 8}), {})
    assert set(search.space) == {"learning_rate", "dropout", "output_dropout"}


@pytest.mark.parametrize(("model", "text", "whole"), [("ease", "ridge=1..10", False), ("sasrec", "length=5..9", True)])
def test_a_range_is_of_numbers_as_the_setting_is(model: str, text: str, whole: bool) -> None:
    (search,) = searches(plan([model], ["tiny"], [1]), parse_space([text]))
    (dimension,) = search.space.values()
    assert isinstance(dimension, Range) and dimension.whole is whole
