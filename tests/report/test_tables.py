import csv
import io
import statistics
from pathlib import Path

import pytest

from cpbench.data.protocol import Protocol
from cpbench.errors import UsageError
from cpbench.report.caption import caption, protocol_text
from cpbench.report.collect import collect
from cpbench.report.data_formats import csv_text, document
from cpbench.report.grid import grid, title
from cpbench.report.record import Stage
from cpbench.report.tables import Estimate, comparison_tables
from cpbench.report.verify import verify
from tests.report.records import record, runs, store


def test_means_and_spread_over_seeds_best_first():
    records = [record("sasrec", 1, 0.4), record("sasrec", 2, 0.6), record("ease", 1, 0.3)]
    (table,), warnings = comparison_tables(runs(records))
    assert warnings == [] and [row.model for row in table.rows] == ["sasrec", "ease"]
    sasrec, ease = table.rows
    assert sasrec.metrics["HR@10"].mean == pytest.approx(0.5)
    assert sasrec.metrics["HR@10"].spread == pytest.approx(0.1414, abs=1e-4)  # n - 1 in the denominator
    assert ease.metrics["HR@10"].spread is None
    assert table.is_best(sasrec, "HR@10") and not table.is_best(ease, "HR@10")
    assert "Mean ± standard deviation over 2 seeds. Rows without ± are single runs." in caption(table)
    assert sasrec.fit_seconds == 12.0 and sasrec.parameters == 45_100


def test_the_spread_is_the_sample_standard_deviation_and_of_equal_values_nothing():
    values = [0.123, 0.1255, 0.1199, 0.131]
    assert Estimate.of(values).spread == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert all(Estimate.of([value] * 3).spread == 0.0 for value in (0.1, 0.3, 0.7, 1 / 3))
    assert Estimate.of([0.1]).spread is None


def test_single_runs_are_said_to_be_single():
    (table,), _ = comparison_tables(runs([record("sasrec"), record("ease")]))
    assert any(line.startswith("Single run of each model") for line in caption(table))
    (alone,), _ = comparison_tables(runs([record("sasrec")]))
    assert not alone.is_best(alone.rows[0], "HR@10")


def test_a_model_that_counts_is_no_single_run():
    cost = record().cost.model_copy(update={"epochs": 0})
    fixed = [record("ease").model_copy(update={"cost": cost}), record("item-knn").model_copy(update={"cost": cost})]
    (table,), _ = comparison_tables(runs(fixed))
    assert "Deterministic, so that one run is enough: ease, item-knn." in caption(table)
    (mixed,), _ = comparison_tables(runs([*fixed[:1], record("sasrec")]))
    assert any(line.startswith("Single run of each model") and line.endswith(" is enough: ease.")
               for line in caption(mixed))


def test_a_model_that_was_trained_before_it_obeyed_a_condition_does_not_count():
    stage = Stage(name="pre-training", metrics={}, fit_seconds=12.0, epochs=3)
    cost = record().cost.model_copy(update={"epochs": 0})
    made = [record("sasrec", stages=[stage]).model_copy(update={"cost": cost}), record("ease")]
    (table,), _ = comparison_tables(runs(made))
    assert not next(row for row in table.rows if row.model == "sasrec").deterministic


def test_a_model_without_epochs_whose_seeds_differ_is_not_taken_to_count():
    cost = record().cost.model_copy(update={"epochs": 0})
    own = [record("walks", seed, hr).model_copy(update={"cost": cost}) for seed, hr in ((1, 0.5), (2, 0.6))]
    (same,), _ = comparison_tables(runs([*own[:1], own[0].model_copy(update={"seed": 2})]))
    (differing,), _ = comparison_tables(runs(own))
    assert same.rows[0].deterministic and not differing.rows[0].deterministic
    assert not any("Deterministic" in line for line in caption(differing))


def test_tables_that_differ_in_seen_items_alone_have_titles_of_their_own():
    tables, _ = comparison_tables(runs([record(), record(protocol=Protocol(exclude_seen=False))]))
    assert {title(table) for table in tables} == {"tiny: leave-one-out", "tiny: leave-one-out, seen items kept"}


def test_versions_of_the_data_and_protocols_never_share_a_table():
    others = [Protocol(serving_lag=900), Protocol(exclude_seen=False)]
    records = [record(), record("ease"), record("ease", dataset_fingerprint="bbbb"),
               *(record("ease", protocol=protocol) for protocol in others)]
    tables, warnings = comparison_tables(runs(records))
    assert sorted(len(table.rows) for table in tables) == [1, 1, 1, 2]
    assert any("2 versions of the data (fingerprints aaaa, bbbb)" in line for line in warnings)
    assert ("several protocols (3 on tiny): their records do not compare and stand in separate tables") in warnings


def test_settings_make_rows_of_their_own():
    other = {"width": 32, "loss": "bce"}
    records = [record(), record(config=other, config_sources={"width": "--set", "loss": "default"})]
    (table,), _ = comparison_tables(runs(records))
    assert sorted(row.recipe for row in table.rows) == ["tuned", "tuned, width=32"]
    # the recipe file itself was edited between two runs: they are not seeds of one thing
    (table,), _ = comparison_tables(runs([record(seed=1), record(seed=2, config=other)]))
    assert sorted(row.recipe for row in table.rows) == ["tuned of 2026-01-01, seed 1", "tuned of 2026-01-01, seed 2"]


def learned(value, source="default", seed=2):
    """A record with a key that the other records lack."""
    return record(seed=seed, config={"width": 64, "loss": "bce", "new": value},
                  config_sources={"width": "default", "loss": "default", "new": source})


def test_a_setting_learned_since_splits_no_row_while_nobody_sets_it():
    (table,), _ = comparison_tables(runs([record(seed=1), learned(False), learned(False, seed=3)]))
    assert [(row.recipe, row.seeds) for row in table.rows] == [("tuned", [1, 2, 3])]


@pytest.mark.parametrize("others", [[learned(True, "recipe tuned")], [learned(False), learned(True, seed=3)]])
def test_a_setting_learned_since_splits_a_row_once_it_says_something(others):
    (table,), _ = comparison_tables(runs([record(seed=1), *others]))
    assert len(table.rows) == 1 + len(others)


def test_the_ceiling_is_no_competitor():
    (table,), _ = comparison_tables(runs([record("sasrec"), record("ease", hr=0.2), record("oracle", hr=0.9)]))
    assert [row.model for row in table.rows] == ["sasrec", "ease"] and table.ceiling is not None
    assert table.is_best(table.rows[0], "HR@10")
    assert [row.model for row in table.all_rows] == ["sasrec", "ease", "oracle"]
    assert any(line.startswith("Ceiling: ") for line in caption(table))


def test_a_record_that_knows_where_the_data_came_from_speaks_for_its_table():
    records = [record(), record("ease"), record("hstu", dataset_unofficial=["b.zip", "a.gz"])]
    (table,), _ = comparison_tables(runs(records))
    assert any(line.startswith("Not made from the official files: a.gz, b.zip had another") for line in caption(table))


def test_the_caption_tells_all_that_changes_a_number():
    notes = {"events": 40.0, "empty_history_share": 0.25, "target_seen_before_share": 0.5,
             "targets_unseen_in_training": 3.0}
    (table,), _ = comparison_tables(runs([record(protocol=Protocol(serving_lag=900), notes=notes)]))
    text = "\n".join(caption(table))
    assert "leave-one-out, seen items excluded, serving lag 900 s; the whole catalogue is ranked." in text
    assert "40 users, 300 items, 480 interactions; fingerprint aaaa" in text
    assert "official" not in text
    assert "40 test events, 25.0% of them without any visible history, 50.0% with a target seen before, " in text
    assert "which are misses here, 3 with a target unseen in training." in text
    assert "cuts at the last 10% and 20%, first 1 per user" in protocol_text(Protocol(split="temporal"))


def test_cutoffs_beyond_the_catalogue_have_no_column():
    (table,), _ = comparison_tables(runs([record(dataset_counts={"users": 40, "items": 8, "interactions": 480})]))
    assert table.columns == ["HR@5", "MRR"]


def test_collecting_names_what_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    results = tmp_path / "results"
    with pytest.raises(UsageError, match=r"no run record in .*results, which does not exist; make one with "
                                         r"`cpbench run .* --results "):
        collect(results)
    store(results, record())
    broken = store(results, record("ease"))
    (broken / "record.json").write_text("{")
    store(results, record("hidden"), run=".tuned-seed1.x7")
    found, warnings = collect(results)
    assert [each.record.model for each in found] == ["sasrec"]
    assert len(warnings) == 1 and str(broken) in warnings[0]
    assert collect(results, ["tiny"])[0] == found
    with pytest.raises(UsageError, match="unknown dataset 'tinny'; did you mean 'tiny'"):
        collect(results, ["tinny"])
    with pytest.raises(UsageError, match=r"no run on ml-1m is recorded in .*, only on tiny; make one with"):
        collect(results, ["ml-1m"])


@pytest.mark.parametrize(("part", "name", "value"), [
    ("test", "HR@10", -1.0), ("test", "NDCG@10", 1.5), ("test", "coverage@10", 7.0), ("test", "HR@10/low", 2.0),
    ("test", "novelty@10", -0.5), ("valid", "MRR", 1.01)])
def test_a_metric_that_no_ranking_can_have_leaves_the_run_out(tmp_path, part, name, value):
    honest = record("ease", metrics={"valid": {"MRR": 1.0}, "test": {"HR@10": 0.0, "novelty@10": 12.5}})
    metrics = honest.metrics.model_dump()
    store(tmp_path, honest)
    folder = store(tmp_path, record("sasrec", metrics={**metrics, part: {**metrics[part], name: value}}))
    found, (warning,) = collect(tmp_path)
    assert [each.record.model for each in found] == ["ease"]
    assert f"{name} is {value} in the record, which no ranking can have; see `cpbench verify {folder}`" in warning
    assert any("which no ranking can have" in each for each in verify(folder).problems)


def test_a_model_that_generates_is_said_to_be_ranked_by_its_beam():
    (table,), _ = comparison_tables(runs([record("sasrec"), record("tiger", notes={"events": 40.0, "beam": 50.0})]))
    assert ("Ranked by the lists they generate; a target outside the list is a miss: tiger (beam of 50)."
            in caption(table))
    assert not any("beam" in line for line in caption(comparison_tables(runs([record("sasrec")]))[0][0]))


def test_nobody_knows_what_an_external_system_took_or_whether_seeds_matter_to_it():
    external = record("theirs", 0, recipe="external")
    external = external.model_copy(update={"cost": external.cost.model_copy(update={"epochs": 0})})
    tables, _ = comparison_tables(runs([external, record("sasrec"), record("sasrec", 2, recipe="paper")]))
    assert [[row.model for row in table.rows] for table in tables] == [["sasrec", "theirs"], ["sasrec"]]
    assert not tables[0].rows[1].deterministic
    assert [cell.text for cell in grid(tables[0]).lines[1].cells[-3:]] == ["-", "-", "-"]
    theirs = tables[0].rows[1]
    assert (theirs.fit_seconds, theirs.milliseconds_a_user, theirs.parameters, theirs.device) == (None,) * 4
    (line,) = [line for line in csv.DictReader(io.StringIO(csv_text(tables))) if line["model"] == "theirs"]
    assert (line["fit seconds"], line["parameters"]) == ("", "") and line["HR@10"] == "0.5"
    (row,) = [row for row in document(tables, [])["tables"][0]["rows"] if row["model"] == "theirs"]
    assert (row["fit_seconds"], row["parameters"]) == (None, None)


def test_a_metric_that_one_run_lacks_is_named():
    lacking = record("sasrec", 2)
    del lacking.metrics.test["HR@10"]
    tables, (warning,) = comparison_tables(runs([record("sasrec"), lacking, record("ease")]))
    assert warning == f"{Path('gone/sasrec/tuned-seed2')} has no number for HR@10, so neither has its row"
    assert not any("HR@10" in row.metrics for row in tables[0].rows if row.model == "sasrec")


def test_times_of_a_gpu_and_of_a_processor_are_not_averaged():
    def on_gpu(model: str, seed: int):
        made = record(model, seed)
        return made.model_copy(update={"machine": made.machine.model_copy(update={"device": "cuda: H100"}),
                                       "cost": made.cost.model_copy(update={"fit_seconds": 1.0})})

    (table,), _ = comparison_tables(runs([record("both", 1), on_gpu("both", 2), on_gpu("gpu", 1)]))
    both, gpu = sorted(table.rows, key=lambda row: row.model)
    assert (both.fit_seconds, both.device, len(both.runs)) == (12.0, "cpu", 2)
    assert (gpu.fit_seconds, gpu.device) == (1.0, "cuda")
    column = grid(table).headings.index("fit seconds")
    assert {line.cells[0].text: line.cells[column].text for line in grid(table).lines} == {
        "both": "12", "gpu": "1.0 (GPU)"}
