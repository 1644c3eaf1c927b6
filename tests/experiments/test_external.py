"""Lists from a file: the numbers of the model that made them, and a row that passes for no model of ours."""

from pathlib import Path

import polars as pl
import pytest

from cpbench.data.protocol import Protocol
from cpbench.errors import UsageError
from cpbench.experiments.external import evaluate_file
from cpbench.experiments.plan import plan
from cpbench.experiments.recommend import recommend
from cpbench.experiments.runner import run
from cpbench.experiments.stored import load_run
from cpbench.report.collect import collect
from cpbench.report.record import RunRecord, load_record
from cpbench.report.tables import comparison_tables
from cpbench.report.verify import verify
from tests.experiments.test_runner import Notes, set_aside
from tests.experiments.tiny import place, tiny


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    place(tmp_path / "home", tiny())
    place(tmp_path / "home", tiny("wide", users=200, items=100))
    return tmp_path / "home"


def exported(tmp_path: Path, model: str, dataset: str, k: int, **options) -> tuple[RunRecord, Path]:
    """The record of a run, and its lists for all test users in a file."""
    (outcome,) = run(plan([model], [dataset], [1], **options), tmp_path / "results", Notes(), device="cpu")
    assert outcome.record is not None
    stored = load_run(str(outcome.folder), tmp_path / "results")
    users = stored.split.dataset.user_ids.gather(stored.split.test.users).to_list()
    rows = [(case.user, item.id, item.score) for case in recommend(stored, users, k=k) for item in case.lists[0].items]
    path = tmp_path / f"their-{model}.parquet"
    pl.DataFrame(rows, schema=["user", "item", "score"], orient="row").write_parquet(path)
    return outcome.record, path


PROTOCOLS = [{}, {"exclude_seen": False}, {"serving_lags": [20_000]}, {"split": "temporal"}]


@pytest.mark.parametrize("options", PROTOCOLS, ids=str)
@pytest.mark.parametrize("model", ["popularity", "ease"])
def test_the_lists_of_a_model_have_the_metrics_of_its_run(tmp_path, model, options):
    ours, path = exported(tmp_path, model, "wide", 50, **options)
    theirs = evaluate_file(path, "wide", ours.protocol, tmp_path / "results").record
    assert theirs.notes["beam"] == 50 and theirs.notes["seen_items_removed"] == 0
    # a tie that goes on beyond the list is shared by more items than the list shows
    exact = (1, 5, 10, 20) if theirs.notes["lists_ending_in_a_tie"] else (1, 5, 10, 20, 50)
    for k in exact:
        for name in (f"HR@{k}", f"NDCG@{k}"):
            assert theirs.metrics.test[name] == ours.metrics.test[name], name
    assert ours.metrics.test["HR@20"] > 0
    assert set(ours.metrics.test) - set(theirs.metrics.test) == {
        *(f"{name}@{k}" for name in ("HR", "NDCG") for k in (100, 200)), "MRR"}
    assert theirs.metrics.test["HR@10/low"] == ours.metrics.test["HR@10/low"]
    assert theirs.metrics.test["NDCG@10/rare"] == ours.metrics.test["NDCG@10/rare"]


@pytest.mark.parametrize("model", ["popularity", "ease"])
def test_whole_rankings_give_every_metric_of_the_run(tmp_path, model):
    ours, path = exported(tmp_path, model, "tiny", 30)
    theirs = evaluate_file(path, "tiny", ours.protocol, tmp_path / "results").record
    # of equally popular items, which ten are looked at is chance
    same = {name for name in ours.metrics.test if model == "ease" or name.startswith(("HR", "NDCG", "MRR"))}
    assert {"MRR", "HR@200", "NDCG@10/rare"} <= same
    assert {name: theirs.metrics.test[name] for name in same} == pytest.approx(
        {name: ours.metrics.test[name] for name in same})


def lists(tmp_path: Path, rows: list[tuple[str, str, float]] | None = None, name: str = "lists.csv") -> Path:
    """By default the same three items for every user of `tiny`."""
    rows = rows or [(f"u{user}", f"i{item}", -item) for user in range(40) for item in (1, 2, 3)]
    path = tmp_path / name
    pl.DataFrame(rows, schema=["user", "item", "score"], orient="row").write_csv(path)
    return path


def test_the_record_says_what_it_is_and_can_be_verified(tmp_path):
    path = lists(tmp_path)
    made = evaluate_file(path, "tiny", Protocol(exclude_seen=False), tmp_path / "results")
    assert made.folder == tmp_path / "results" / "tiny" / "leave-one-out,seen=kept" / "lists" / "external"
    assert made.status == "done" and made.warnings == []
    record = load_record(made.folder)
    assert record == made.record
    assert record.config["file"] == "lists.csv" and record.config["checksum"].startswith("sha256:")
    assert record.config["ordered_by"] == "score" and record.information == ["unknown"]
    assert record.cost.epochs == record.cost.parameters == record.cost.peak_rss_bytes == record.cost.fit_seconds == 0
    assert record.metrics.valid == {} and record.test_looks == 1
    assert sorted(file.name for file in made.folder.iterdir()) == ["curve.json", "ranks.parquet", "record.json"]
    verdict = verify(made.folder)
    assert verdict.problems == [] and verdict.sealed and verdict.recomputed == 2  # HR@1 and NDCG@1


def test_the_same_file_is_skipped_and_another_needs_force(tmp_path):
    results, protocol = tmp_path / "results", Protocol()
    first = evaluate_file(lists(tmp_path), "tiny", protocol, results)
    assert evaluate_file(lists(tmp_path), "tiny", protocol, results) == type(first)(
        first.folder, first.record, "skipped", first.warnings)
    other = lists(tmp_path, [("u1", f"i{item}", 1.0) for item in range(30)])
    with pytest.raises(UsageError, match=r"already recorded, from another file \(lists.csv, .*\): give another --name"):
        evaluate_file(other, "tiny", protocol, results)
    assert load_record(first.folder) == first.record
    again = evaluate_file(other, "tiny", protocol, results, force=True)
    assert again.record.test_looks == 2 and again.record.notes["lists_missing"] == 39
    with pytest.raises(UsageError, match="from the same file, described differently"):
        evaluate_file(other, "tiny", protocol, results, information=["times"])
    assert evaluate_file(other, "tiny", protocol, results, "mine", information=["ids"]).record.information == []


def test_a_record_that_a_killed_process_had_set_aside_is_found_again(tmp_path):
    results, protocol = tmp_path / "results", Protocol()
    first = evaluate_file(lists(tmp_path), "tiny", protocol, results)
    set_aside(first.folder)
    again = evaluate_file(lists(tmp_path), "tiny", protocol, results)
    assert again.status == "skipped" and again.record == first.record
    set_aside(first.folder)
    other = lists(tmp_path, [("u1", f"i{item}", 1.0) for item in range(30)])
    assert evaluate_file(other, "tiny", protocol, results, force=True).record.test_looks == 2


def test_what_a_reader_should_know_is_said(tmp_path):
    rows = [(f"u{user}", f"i{item}", 1.0) for user in range(39) for item in range(29 if user > 8 else 15)]
    made = evaluate_file(lists(tmp_path, [*rows, ("stranger", "i1", 1.0), ("u3", "song", 2.0)]), "tiny", Protocol(),
                         tmp_path / "results")
    text = "\n".join(made.warnings)
    assert "1 of 40 users are not in tiny, such as 'stranger': their lists are ignored" in text
    assert "1 of 30 items are not in tiny, such as 'song': they take places in the lists but can never be" in text
    assert "1 of 40 test events have no list: they are misses" in text
    assert "lists end in equal scores" in text and "places held items that the user had seen" in text
    assert f"of 40 lists are shorter than {made.record.notes['beam']:.0f}, the median" in text
    assert made.record.notes["unknown_items"] == 1 and made.record.notes["lists_missing"] == 1


def test_it_enters_the_tables_as_a_row_of_its_own(tmp_path):
    ours, path = exported(tmp_path, "ease", "tiny", 10)
    evaluate_file(path, "tiny", ours.protocol, tmp_path / "results")
    runs, _ = collect(tmp_path / "results")
    (table,), _ = comparison_tables(runs)
    assert [(row.model, row.recipe, row.beam) for row in table.rows] == [
        ("ease", "tuned", None), ("their-ease", "external", 10)]


@pytest.mark.parametrize(("name", "sentence"), [
    ("ease", "'ease' is the name of a model of cpbench, and an external row must not pass for it"),
    ("SASRec", "is the name of a model of cpbench"),
    ("oracle", "is the name of a model of cpbench"),
    ("recbole_SASRec", "is the name of a model of cpbench"),
    ("recbole:SASRec", "cannot name a system: use letters"),
    ("../up", "cannot name a system"),
    (".hidden", "cannot name a system"),
    ("", "cannot name a system"),
])
def test_names_that_are_refused(tmp_path, name, sentence):
    with pytest.raises(UsageError, match=sentence):
        evaluate_file(lists(tmp_path), "tiny", Protocol(), tmp_path / "results", name)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("rows", "sentence"), [
    ([("7", "i1", 1.0)], r"no user of .*lists.csv is in tiny: unknown user '7'; did you mean 'u7'"),
    ([("u1", "l1", 1.0), ("u1", "l2", 1.0)], r"no item of .*lists.csv is in tiny: unknown item 'l1'"),
])
def test_lists_of_other_data_are_refused(tmp_path, rows, sentence):
    with pytest.raises(UsageError, match=sentence):
        evaluate_file(lists(tmp_path, rows), "tiny", Protocol(), tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("information", "sentence"), [
    (["timez"], "unknown information 'timez'; did you mean 'times'"),
    (["ids", "times"], "'ids,times': give what the system uses beside item ids, or ids"),
    ([], "--information '': give"),
])
def test_information_that_is_refused(tmp_path, information, sentence):
    with pytest.raises(UsageError, match=sentence):
        evaluate_file(lists(tmp_path), "tiny", Protocol(), tmp_path / "results", information=information)


def test_a_condition_cannot_be_answered_from_a_file(tmp_path):
    with pytest.raises(UsageError, match="cannot answer a condition"):
        evaluate_file(lists(tmp_path), "tiny", Protocol(condition="genre"), tmp_path / "results")
