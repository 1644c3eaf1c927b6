from pathlib import Path

import numpy as np
import pytest

from cpbench.data.protocol import Protocol, split
from cpbench.errors import UsageError
from cpbench.evaluation.evaluate import evaluate
from cpbench.experiments.ablate import COUNTS, measure
from cpbench.experiments.ablations import ABLATIONS, VARIANTS, cells
from cpbench.experiments.instructed_lists import evaluate_instructions
from cpbench.experiments.stored import load_run
from cpbench.models.base import Histories
from cpbench.report.ablation import WINDOWS, ablation_rows
from tests.experiments.test_runner import Notes
from tests.experiments.tiny import place, tiny

SHORT = {"epochs": 1, "width": 8, "category_width": 2, "layers": 1, "length": 10}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    place(tmp_path / "home", tiny(length=16))
    return tmp_path / "home"


def grid(name: str, overrides=SHORT, lags=(0,), condition=None, seeds=(1,)):
    return cells(ABLATIONS[name], "tiny", seeds, "tuned", overrides, lags, condition)


def test_the_tables_name_what_they_hold():
    assert set(ABLATIONS) == set(VARIANTS)
    for ablation in ABLATIONS.values():
        labels = {variant.label for variant in ablation.variants(tiny())}
        known = labels | {"not instructed", "no instruction"}
        assert ablation.reference in known
        assert set(ablation.paper) <= known
        assert all(set(figures) <= set(ablation.metrics) for figures in ablation.paper.values())


def test_windows_follow_the_granularity_of_the_data():
    by_seconds = {variant.label for variant in VARIANTS["window"](tiny())}
    days = tiny()
    object.__setattr__(days, "times", days.times // 86_400 * 86_400)
    by_days = {variant.label for variant in VARIANTS["window"](days)}
    assert "7.5 min" in by_seconds and "7.5 min" not in by_days
    assert "same day" in by_days and by_days <= set(WINDOWS.values())


def test_a_setting_that_the_ablation_varies_cannot_be_set():
    with pytest.raises(UsageError, match=r"mode.*varies it itself"):
        grid("tamip", {**SHORT, "mode": "nip"})
    with pytest.raises(UsageError, match="takes no --condition"):
        grid("tamip", condition="genre")


def test_some_variants_alone_are_compared_with_the_reference():
    wanted = cells(ABLATIONS["tamip"], "tiny", (1,), "tuned", SHORT, (0,), None, ["tamip"])
    assert [variant.label for variant, _ in wanted] == ["NIP", "TAMIP"]
    with pytest.raises(UsageError, match="did you mean 'TAMIP'"):
        cells(ABLATIONS["tamip"], "tiny", (1,), "tuned", SHORT, (0,), None, ["TAMPI"])


def test_data_that_the_ablation_cannot_use_are_bad_input(home, tmp_path):
    place(home, tiny(length=6))  # the horizon needs twelve
    with pytest.raises(UsageError, match="no run of the ablation 'tamip' succeeded"):
        measure(ABLATIONS["tamip"], grid("tamip"), tmp_path / "r", Notes(), device="cpu")


def test_tamip_gives_ten_steps_for_every_variant_and_lag(tmp_path):
    runs, outcomes = measure(ABLATIONS["tamip"], grid("tamip", lags=(0, 3600)), tmp_path / "r", Notes(), device="cpu")
    assert [outcome.status for outcome in outcomes] == ["done"] * 8
    rows = ablation_rows(runs, ABLATIONS["tamip"].measured, "NIP")
    assert [(row.lag, row.label) for row in rows[:5]] == [
        (0, "NIP"), (0, "MIP"), (0, "TAMIP"), (0, "TAMIP, exact cut-off"), (3600, "NIP")]
    assert {f"HR@10/step {step}" for step in range(1, 11)} <= set(rows[0].metrics)
    for each in runs:
        assert each.ranks.shape == (40, 10)
        assert each.metrics["HR@10/step 7"] == pytest.approx((each.ranks[:, 6] <= 10).mean())
    again, outcomes = measure(ABLATIONS["tamip"], grid("tamip", lags=(0, 3600)), tmp_path / "r", Notes(), device="cpu")
    assert {outcome.status for outcome in outcomes} == {"skipped"}
    assert [each.metrics for each in again] == [each.metrics for each in runs]


def test_cgsa_shares_one_pretraining_and_holds_all_rivals(tmp_path):
    overrides = {**SHORT, "sft.epochs": 1}
    runs, outcomes = measure(ABLATIONS["cgsa"], grid("cgsa", overrides), tmp_path / "r", Notes(), device="cpu")
    assert [outcome.status for outcome in outcomes] == ["done"] * 5
    assert len(list((tmp_path / "r").glob("tiny/leave-one-out/*/*/record.json"))) == 1
    labels = [each.label for each in runs]
    assert labels[:3] == ["not instructed", "post-filter", "hard filter"] and len(labels) == len(set(labels)) == 13
    by_label = {each.label: each for each in runs}
    consistent = {label: each.metrics["CC@10"] for label, each in by_label.items()}  # below 1: not ten of a genre left
    assert consistent["hard filter"] == consistent["CGSA + hard filter"] > consistent["not instructed"]
    assert by_label["hard filter"].metrics["HR@10"] >= by_label["not instructed"].metrics["HR@10"]
    for each in runs:
        assert each.metrics["HR@10"] == pytest.approx((each.ranks <= 10).mean())


def test_instructions_compares_the_same_model_with_and_without(tmp_path):
    overrides = {**SHORT, "sft.epochs": 1}
    runs, _ = measure(ABLATIONS["instructions"], grid("instructions", overrides), tmp_path / "r", Notes(), device="cpu")
    assert [each.label for each in runs] == ["no instruction", *(f"P = {count}" for count in COUNTS)]
    assert all("diversity@10/high" in each.metrics for each in runs)


def test_lists_without_instructions_are_the_plain_lists(tmp_path):
    wanted = grid("instructions", {**SHORT, "sft.epochs": 1})
    measure(ABLATIONS["instructions"], wanted, tmp_path, Notes(), device="cpu")
    stored = load_run("tiny/leave-one-out,condition=genre", tmp_path)
    part = split(stored.split.dataset, Protocol())
    ranks, metrics = evaluate_instructions(stored.model, part, part.test, 0)
    histories = Histories.of_events(part.dataset, part.test)
    ids, _ = stored.model.recommend(histories, 20)
    targets = part.dataset.items[part.test.target]
    expected = [row.index(target) + 1 if target in row else np.inf
                for row, target in zip(ids.tolist(), targets.tolist(), strict=True)]
    assert np.where(ranks > 20, np.inf, ranks).tolist() == expected
    assert metrics["HR@10"] == pytest.approx(np.mean(np.array(expected) <= 10))
    with_all, _ = evaluate_instructions(stored.model, part, part.test, 3)  # three genres: all of them
    assert np.isfinite(with_all).sum() >= np.isfinite(ranks).sum() - 5


def test_lists_hold_nothing_that_was_seen(home, tmp_path):
    place(home, tiny(length=26))  # around the circle: some targets were seen before
    wanted = grid("instructions", {**SHORT, "sft.epochs": 1})
    measure(ABLATIONS["instructions"], wanted, tmp_path, Notes(), device="cpu")
    stored = load_run("tiny/leave-one-out,condition=genre", tmp_path)
    part = split(stored.split.dataset, Protocol())
    missed = np.isinf(evaluate(stored.model, part, part.test).ranks)
    assert missed.any() and not missed.all()
    for count in (0, 1, 3):
        ranks, metrics = evaluate_instructions(stored.model, part, part.test, count)
        assert np.isinf(ranks[missed]).all() and np.isfinite(ranks[~missed]).any()
        assert 0 <= metrics["diversity@10"] <= 1
