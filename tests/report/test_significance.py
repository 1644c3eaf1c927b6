import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cpbench.errors import CpbenchError, UsageError
from cpbench.evaluation.metrics import accuracy
from cpbench.report.caption import caption
from cpbench.report.collect import collect
from cpbench.report.evidence import Ranks, Run, _read_all, _read_as_one
from cpbench.report.grid import grid
from cpbench.report.latex import latex
from cpbench.report.markdown import markdown
from cpbench.report.significance import mark, with_statistics
from cpbench.report.tables import comparison_tables
from tests.report.records import record, store

EVENTS = 400


def kept(results: Path, model: str, seed: int, hit_rate: float, epochs: int = 3, **changes) -> Run:
    """A run whose ranks were drawn: so many of them are 1, the others 100."""
    draw = np.random.default_rng([seed, len(model)]).random(EVENTS)
    ranks = np.where(draw < hit_rate, 1.0, 100.0)
    hits = float((ranks == 1).mean())
    made = record(model, seed, notes={"events": float(EVENTS)}, metrics={"test": {"HR@10": hits, "NDCG@10": hits}},
                  **changes)
    made = made.model_copy(update={"cost": made.cost.model_copy(update={"epochs": epochs})})
    folder = store(results, made, f"{made.recipe}-seed{seed}")
    order = np.random.default_rng(seed).permutation(EVENTS)  # files may hold the events in any order
    pl.DataFrame({"user": np.arange(EVENTS), "target": np.arange(EVENTS) * 3, "rank": ranks})[order].write_parquet(
        folder / "ranks.parquet")
    return Run(made, folder)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [*(kept(tmp_path, "sasrec", seed, 0.50) for seed in (1, 2, 3)),
            *(kept(tmp_path, "gru4rec", seed, 0.49) for seed in (1, 2, 3)),
            kept(tmp_path, "ease", 1, 0.2, epochs=0), kept(tmp_path, "hstu", 1, 0.45)]


def test_every_row_is_compared_with_the_best_or_with_the_one_named(runs):
    tables, _ = comparison_tables(runs)
    (table,), warnings = with_statistics(tables)
    assert warnings == [] and table.reference == table.rows[0].label
    assert table.rows[0].differences == {} and all(row.differences for row in table.rows[1:])
    (table,), _ = with_statistics(tables, "ease")
    found = {row.model: row.differences for row in table.rows}
    assert found["ease"] == {} and found["sasrec"]["HR@10"].mean == pytest.approx(0.3, abs=0.05)
    assert mark(found["sasrec"]["HR@10"]) == "†"
    with pytest.raises(UsageError, match="unknown reference model 'eese'; did you mean 'ease'") as refused:
        with_statistics(tables, "eese")
    assert str(refused.value).endswith("Known: ease, gru4rec, hstu, sasrec")  # models, not every row
    assert with_statistics(tables, "ease (tuned)")[0][0].reference == "ease (tuned)"


def test_intervals_hold_the_mean_and_a_table_says_what_they_are(runs):
    (table,), _ = with_statistics(comparison_tables(runs)[0])
    for row in table.rows:
        low, high = row.metrics["HR@10"].interval
        assert low < row.metrics["HR@10"].mean < high
    text = "\n".join(caption(table))
    assert "95 % bootstrap interval" in text and f"Differences are to {table.reference}" in text
    assert "Holm-corrected over all 6 pairs of rows, as the best row was chosen by these events" in text
    (named,), _ = with_statistics(comparison_tables(runs)[0], table.rows[0].model)
    assert any("Holm-corrected over 3 rows" in line for line in caption(named))
    for row, own in zip(table.rows[1:], named.rows[1:], strict=True):
        assert row.differences["HR@10"].p_value >= own.differences["HR@10"].p_value
    assert "The comparison of hstu (tuned) rests on a single run" in text  # ease has one run and needs no more
    assert "≈ ±" in markdown([table]) and "†" in markdown([table]) and r"$\approx$" in latex([table])
    assert len({len(line.cells) for line in grid(table).lines}) == 1 == len({len(grid(table).headings)})


def test_the_length_of_the_list_may_decide_who_is_ahead(tmp_path):
    draw = np.random.default_rng(0).random((2, 3, EVENTS))
    for model, ranks in (("sasrec", np.where(draw[0] < 0.5, 1.0, 100.0)), ("hstu", np.where(draw[1] < 0.2, 1.0, 40.0))):
        for seed, own in enumerate(ranks):
            folder = store(tmp_path, record(model, seed, metrics={"test": accuracy(own)}), f"tuned-seed{seed}")
            pl.DataFrame({"user": np.arange(EVENTS), "target": np.arange(EVENTS), "rank": own}).write_parquet(
                folder / "ranks.parquet")
    (table,), _ = with_statistics(comparison_tables(collect(tmp_path)[0])[0], "sasrec")
    found = {row.model: row for row in table.rows}["hstu"]
    assert {name: (np.sign(each.mean), mark(each)) for name, each in found.differences.items()} == {
        "HR@10": (-1, "†"), "HR@50": (1, "†"), "NDCG@10": (-1, "†")}
    assert found.metrics["HR@50"].interval == (1.0, 1.0)


def test_a_table_of_single_runs_does_not_speak_of_seeds(runs):
    several, _ = with_statistics(comparison_tables(runs)[0])
    single, _ = with_statistics(comparison_tables([run for run in runs if run.record.seed == 1])[0])
    text, other = ("\n".join(caption(table)) for (table,) in (several, single))
    assert "users and seeds drawn again together" in text and "t test over users and seeds;" in text
    assert "drawn again together; of a single run, users alone." in text
    assert "users drawn again." in other and "t test over users; " in other


def test_a_p_that_knows_no_seeds_makes_none_smaller_that_knows_them(runs, tmp_path):
    """hstu is a single run: were it not, its sure p would leave the others a smaller family."""
    worst = kept(tmp_path, "hstu", 9, 0.05)
    rows = [*runs[:-1], worst]

    def p_value(runs) -> dict[str, float]:
        (table,), _ = with_statistics(comparison_tables(runs)[0], "sasrec")
        return {row.model: row.differences["HR@10"].p_value for row in table.rows[1:]}

    uncorrected = p_value(rows[:6])["gru4rec"]
    assert p_value(rows)["gru4rec"] == pytest.approx(min(1.0, 2 * uncorrected))  # beside it only hstu is not behind it
    several = [*runs[:-1], *(kept(tmp_path, "pinrec", seed, 0.05) for seed in (1, 2, 3))]
    assert p_value(several)["gru4rec"] == pytest.approx(uncorrected)


def test_a_correction_counts_all_rows(runs):
    alone, _ = with_statistics(comparison_tables(runs[:6])[0], "sasrec")
    all_rows, _ = with_statistics(comparison_tables(runs)[0], "sasrec")

    def p_value(tables) -> float:
        return next(row for row in tables[0].rows if row.model == "gru4rec").differences["HR@10"].p_value

    assert p_value(all_rows) >= p_value(alone)


def test_a_row_without_ranks_has_no_statistics_and_the_others_keep_theirs(runs):
    (runs[3].folder / "ranks.parquet").unlink()
    (table,), (warning,) = with_statistics(comparison_tables(runs)[0])
    assert "gru4rec" in warning and "cannot be read" in warning
    by_model = {row.model: row for row in table.rows}
    assert by_model["gru4rec"].metrics["HR@10"].interval is None and by_model["gru4rec"].differences == {}
    assert by_model["ease"].differences
    assert "No usable ranks, hence neither interval nor comparison: gru4rec (tuned)." in caption(table)


def test_of_a_tiny_catalogue_nothing_is_compared_that_has_no_column(runs):
    small = [run._replace(record=run.record.model_copy(update={
        "dataset_counts": {"users": 40, "items": 10, "interactions": 480}})) for run in runs]
    (table,), _ = with_statistics(comparison_tables(small)[0])
    assert table.columns == [] and table.reference is None and not any(row.differences for row in table.rows)


@pytest.mark.parametrize("change", [
    lambda table: table.with_columns(target=pl.col("target") + 1),
    lambda table: table.head(10),
    lambda table: pl.concat([table, table.head(1).with_columns(user=10_000)], how="vertical_relaxed"),
    lambda table: table.with_columns(rank=pl.lit(float("nan"))),
])
def test_ranks_of_other_events_are_not_compared(runs, change):
    path = runs[-1].folder / "ranks.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    (table,), (warning,) = with_statistics(comparison_tables(runs)[0])
    assert "hstu" in warning and not next(row for row in table.rows if row.model == "hstu").differences


def test_one_model_alone_has_an_interval_and_no_difference(runs):
    (table,), _ = with_statistics(comparison_tables(runs[:1])[0])
    assert table.rows[0].metrics["NDCG@10"].interval and "Differences" not in "\n".join(caption(table))


def test_recipes_of_papers_stand_apart_and_counting_models_in_both(tmp_path):
    runs = [kept(tmp_path, "sasrec", 1, 0.5), kept(tmp_path, "sasrec", 2, 0.3, recipe="paper"),
            kept(tmp_path, "ease", 1, 0.2, epochs=0)]
    tables, _ = comparison_tables(runs)
    assert [(table.recipes, [row.label for row in table.rows]) for table in tables] == [
        ("tuned", ["sasrec (tuned)", "ease (tuned)"]), ("paper", ["sasrec (paper)", "ease (tuned)"])]
    assert grid(tables[1]).title.endswith(", recipes of the papers")


def test_a_metric_that_is_no_number_is_left_out_and_named(tmp_path):
    made = kept(tmp_path, "sasrec", 1, 0.5)
    broken = made.record.metrics.model_copy(update={"test": {**made.record.metrics.test, "HR@10": float("nan")}})
    run = Run(made.record.model_copy(update={"metrics": broken}), made.folder)
    (table,), warnings = comparison_tables([run])
    assert "HR@10" not in table.rows[0].metrics and "has no number for HR@10" in warnings[0]


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda table: table.with_columns(pl.col("target") + 1), "holds other test events than the other runs"),
    (lambda table: pl.concat([table.head(1), table.head(EVENTS - 1)]), "holds other test events than the other runs"),
    (lambda table: table.head(0), "holds no test event"),
    (lambda table: table.with_columns(pl.col("target").shift()), "holds a row without a target"),
    (lambda table: table.with_columns(pl.col("rank").shift()), "holds a rank below 1 or none at all"),
    (lambda table: table.with_columns(pl.col("rank").cast(pl.String)), "holds no numbers in the column 'rank'"),
    (lambda table: table.with_columns(pl.col("user").cast(pl.String)), "holds no whole numbers in the column 'user'"),
    (lambda table: table.with_columns(pl.col("user").cast(pl.Int128)), "holds no whole numbers in the column 'user'"),
    (lambda table: table.with_columns(pl.col("rank").cast(pl.Decimal(9, 2))), "holds no numbers in the column 'rank'"),
])
def test_the_row_with_strange_ranks_is_named_and_not_the_others(runs, change, sentence):
    path = runs[0].folder / "ranks.parquet"  # of the first run that is read
    change(pl.read_parquet(path)).write_parquet(path)
    (table,), (warning,) = with_statistics(comparison_tables(runs)[0])
    assert str(path) in warning and sentence in warning and "more)" not in warning
    assert [row.model for row in table.rows if row.metrics["HR@10"].interval is None] == ["sasrec"]


def test_intervals_are_explained_and_the_missing_reference_is_told(runs, tmp_path):
    other = kept(tmp_path, "pinrec", 1, 0.4, dataset="other")
    tables, (warning,) = with_statistics(comparison_tables([*runs, other])[0], "ease")
    assert warning == ("ease has no row with ranks and any of HR@10, HR@50, NDCG@10 in 1 of 2 tables: nothing is "
                       "compared there")
    without = next(table for table in tables if table.dataset == "other")
    assert without.reference is None and any("95 % bootstrap interval" in line for line in caption(without))


def test_a_reference_of_lists_too_short_to_be_compared_is_told(runs, tmp_path):
    ones = kept(tmp_path, "ones", 1, 0.4)
    short = record("ones", notes={"events": float(EVENTS), "beam": 1.0},
                   metrics={"test": {"HR@1": ones.record.metrics.test["HR@10"]}})
    (table,), (warning,) = with_statistics(comparison_tables([*runs, Run(short, ones.folder)])[0], "ones")
    assert "ones has no row with ranks and any of HR@10, HR@50, NDCG@10 in 1 of 1 tables" in warning
    assert table.reference is None
    assert table.columns == ["HR@1", "HR@10", "NDCG@10"]  # else a row without any figure
    (alone,), _ = with_statistics(comparison_tables([Run(short, ones.folder)])[0])
    assert alone.columns == ["HR@1"] and alone.reference is None


def test_one_user_proves_nothing(runs):
    alone = []
    for run in runs:
        path = run.folder / "ranks.parquet"
        table = pl.read_parquet(path).filter(pl.col("user") == 0)
        table.write_parquet(path)
        metrics = {"test": accuracy(table["rank"].to_numpy())}
        alone.append(Run(record(run.record.model, run.record.seed, metrics=metrics), run.folder))
    (table,), warnings = with_statistics(comparison_tables(alone)[0])
    assert warnings == [] and not any(row.differences for row in table.rows)
    assert not any(row.metrics["HR@10"].interval for row in table.rows)


def test_a_run_that_its_own_ranks_contradict_is_left_out_and_named(runs, tmp_path):
    path = runs[0].folder / "ranks.parquet"
    pl.read_parquet(path).with_columns(rank=pl.lit(1.0)).write_parquet(path)
    edited = runs[-1].record.metrics.model_copy(update={"test": {**runs[-1].record.metrics.test, "HR@20": 0.9}})
    runs[-1] = Run(runs[-1].record.model_copy(update={"metrics": edited}), runs[-1].folder)
    (table,), warnings = with_statistics(comparison_tables(runs)[0])
    assert {row.model: row.seeds for row in table.rows} == {"sasrec": [2, 3], "gru4rec": [1, 2, 3], "ease": [1]}
    assert [row.metrics["HR@10"].mean for row in table.rows] == [
        row.metrics["HR@10"].mean for row in comparison_tables(runs[1:-1])[0][0].rows]
    assert all(row.metrics["HR@10"].interval for row in table.rows) and all(row.differences for row in table.rows[1:])
    assert len(warnings) == 2
    assert "HR@10 is " in warnings[0] and "in the record, 1.000000 by the ranks" in warnings[0]
    assert f"see `cpbench verify {runs[0].folder}`" in warnings[0]
    assert f"left out: {runs[-1].folder}: HR@20 is 0.9 in the record, " in warnings[1]
    other = kept(tmp_path, "pinrec", 1, 0.4, dataset="other")
    pl.read_parquet(other.folder / "ranks.parquet").with_columns(rank=pl.lit(7.0)).write_parquet(
        other.folder / "ranks.parquet")
    found, _ = with_statistics(comparison_tables([*runs, other])[0])
    assert [each.dataset for each in found] == ["tiny"]
    with pytest.raises(CpbenchError, match=r"no run is left to report: left out: .*pinrec"):
        with_statistics(comparison_tables([other])[0])


def test_runs_are_read_together_as_they_are_one_by_one(tmp_path):
    table = pl.DataFrame({"user": [3, 1, 2], "target": [5, 4, 6], "rank": [1.0, 2.5, float("inf")]})
    kinds = {"a": table, "b": table.reverse(), "[c]*": table.head(2), "d": table.with_columns(pl.col("rank").shift()),
             "whole": table.head(1).with_columns(rank=pl.lit(4)), "short": table.cast({"user": pl.Int16}),
             "empty": table.head(0), "lacking": table.drop("rank"), "absent": None,
             "of nobody": table.with_columns(pl.col("user").shift())}
    for name, each in kinds.items():
        (tmp_path / name).mkdir()
        if each is not None:
            each.write_parquet(tmp_path / name / "ranks.parquet")
    def as_written(found: Ranks | CpbenchError, name: str) -> bool:
        own = kinds[name]
        return isinstance(found, Ranks) and all(np.array_equal(column, own[kind].to_numpy(), equal_nan=True)
                                                for kind, column in found._asdict().items())

    together = ("a", "b", "[c]*", "d")
    alike = [tmp_path / name for name in together]
    assert all(map(as_written, _read_as_one(alike), together))
    for name in list(kinds)[4:]:
        folders = [*alike, tmp_path / name]
        assert not _read_as_one(folders)
        *found, last = _read_all(folders)
        assert all(map(as_written, found, together))
        assert as_written(last, name) if name in ("whole", "short") else isinstance(last, CpbenchError)


def test_a_thousand_runs_of_one_table_are_read_without_a_warning(tmp_path):
    table = pl.DataFrame({"user": range(2000), "target": range(2000), "rank": [1.0] * 2000})
    for number in range(1000):
        (tmp_path / str(number)).mkdir()
        table.write_parquet(tmp_path / str(number) / "ranks.parquet")
    code = ("import sys, pathlib; from cpbench.report.evidence import _read_all;"
            "print(len(_read_all(sorted(pathlib.Path(sys.argv[1]).iterdir()))))")
    # another process: polars warns from a thread of its own, which pytest does not see
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True,
                          timeout=60)
    assert (done.stdout, done.stderr) == ("1000\n", "")
