import json
from pathlib import Path

import pytest

from tests.cli.process import cpbench
from tests.cli.refusal import refused
from tests.report.test_diff import NEW, OLD, honest, kept


@pytest.fixture
def runs(tmp_path) -> tuple[Path, Path]:
    """A trained run, and one whose settings hold markup."""
    odd = honest(NEW, "hstu", config={"width": 64, "loss": "[red]odd[/red]"})
    return kept(tmp_path, honest(OLD), OLD).folder, kept(tmp_path, odd, NEW).folder


def test_two_runs_side_by_side(tmp_path, runs):
    done = cpbench(tmp_path, "diff", *runs, NO_COLOR="1")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "same data and protocol: tiny (40 users, 300 items, 480 interactions)" in done.stdout
    assert "[red]odd[/red]" in done.stdout and "settings that are equal: 1" in done.stdout
    assert "of 6 users: for whom the second run is better, worse, equal" in done.stdout
    assert "paired t test over users" in done.stdout
    assert "One run each: how much another seed would change is not included" in done.stdout
    document = json.loads(cpbench(tmp_path, "diff", *runs, "--json").stdout)
    assert document["comparable"] and document["first"] == str(runs[0])
    assert document["settings"] == [{"name": "loss", "first": "bce", "second": "[red]odd[/red]",
                                     "sources": ["default", "default"]}]
    assert document["users"]["tallies"][1] == {"measure": "rank", "wins": 2, "losses": 2, "ties": 2}
    assert {"p_value", "interval", "covers_seeds"} <= set(document["users"]["tests"]["NDCG@10"])


def test_a_record_stands_for_its_folder(tmp_path, runs):
    first, second = runs
    assert cpbench(tmp_path, "diff", first / "record.json", second).stdout == cpbench(tmp_path, "diff", *runs).stdout


def test_words_of_the_path_name_a_run(tmp_path, runs):
    by_words = cpbench(tmp_path, "diff", "tiny/sasrec", "hstu", "--results", runs[0].parents[3])
    assert by_words.returncode == 0 and by_words.stdout == cpbench(tmp_path, "diff", *runs).stdout
    assert "did you mean 'tiny/hstu'" in refused(
        cpbench(tmp_path, "diff", "tiny/sasrec", "tiny/hstv", "--results", runs[0].parents[3]), 2)


def test_what_does_not_compare_is_warned_of(tmp_path, runs):
    other = kept(tmp_path / "other", honest(NEW, dataset_fingerprint="bbbb"), NEW).folder
    done = cpbench(tmp_path, "diff", runs[0], other)
    assert done.returncode == 0 and "HR@10" in done.stdout and "user by user" not in done.stdout
    assert done.stderr.startswith("warning: the metrics of these runs do not compare: fingerprint is aaaa in the first")
    assert "warning: users cannot be paired: the runs are on different data" in done.stderr


def test_bad_usage_is_one_sentence_and_status_2(tmp_path, runs):
    first, second = runs
    assert "is given twice: name two runs" in refused(cpbench(tmp_path, "diff", first, first / ".." / first.name), 2)
    assert "no run record in results, which does not exist" in refused(cpbench(tmp_path, "diff", first, "nowhere"), 2)
    (tmp_path / "empty").mkdir()
    assert "empty is not the folder of a run: it holds no record.json" in refused(
        cpbench(tmp_path, "diff", first, "empty"), 2)
    (second / "record.json").write_text("{")
    assert "record.json is damaged" in refused(cpbench(tmp_path, "diff", first, second), 2)
    (second / "record.json").write_text('{"schema_version": 1}')
    assert "is not a run record (wrong or missing: " in refused(cpbench(tmp_path, "diff", first, second), 2)
