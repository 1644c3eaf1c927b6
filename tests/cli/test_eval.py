import json
from pathlib import Path

import pytest

from tests.cli.process import cpbench
from tests.cli.refusal import refused
from tests.experiments.tiny import place, tiny

USERS = "".join(f"u{user}\n" for user in range(40))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A recorded run of popularity, and its lists of ten as CSV with columns of other names."""
    folder = tmp_path_factory.mktemp("home")
    place(folder, tiny())
    done = cpbench(folder, "run", "--model", "popularity", "--dataset", "tiny")
    assert done.returncode == 0, done.stderr
    (folder / "users.txt").write_text(USERS)
    shown = json.loads(cpbench(folder, "recommend", "popularity", "--users-from", "users.txt", "--json").stdout)
    rows = [f"{user['user']},{item['id']},{item['score']}" for user in shown["users"]
            for item in user["lists"][0]["items"]]
    (folder / "lists.csv").write_text("\n".join(["uid,track,s", *rows]))
    return folder


def test_what_recommend_shows_can_be_evaluated_verified_and_reported(home, tmp_path):
    ask = ("eval", "lists.csv", "--dataset", "tiny", "--columns", "user=uid,item=track,score=s", "--name", "theirs",
           "--information", "ids", "--results", tmp_path)
    done = cpbench(home, *ask, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["status"] == "done" and document["record"]["recipe"] == "external"
    (ours,) = home.glob("results/tiny/leave-one-out/popularity/*/record.json")
    ours = json.loads(ours.read_text())["metrics"]["test"]
    theirs = document["record"]["metrics"]["test"]
    assert theirs["HR@5"] == ours["HR@5"] > 0 and "HR@20" not in theirs
    assert "equal scores" in done.stderr and "equal scores" in document["warnings"][0]

    again = cpbench(home, *ask, NO_COLOR="1")
    assert again.returncode == 0 and "recorded already (--force evaluates them again)" in again.stderr
    assert "theirs" in again.stdout and f"{ours['HR@5']:.4f}" in again.stdout
    assert "40 test events, lists of 10; leave-one-out, seen items excluded, no serving lag" in again.stdout
    verified = cpbench(home, "verify", document["folder"]).stdout
    assert verified.endswith("1 run: all recomputed metrics follow from the ranks\n")
    (row,) = json.loads(cpbench(home, "report", "--results", tmp_path, "--json").stdout)["tables"][0]["rows"]
    assert (row["model"], row["recipe"], row["information"]) == ("theirs", "external", [])
    assert list(tmp_path.rglob(".*")) == []


def test_lists_of_one_item_have_a_figure(home, tmp_path):
    rows = (home / "lists.csv").read_text().splitlines()[1::10]
    (tmp_path / "one.csv").write_text("\n".join(["user,item,score", *rows]))
    done = cpbench(home, "eval", tmp_path / "one.csv", "--dataset", "tiny", "--results", tmp_path / "r")
    assert done.returncode == 0 and "40 test events, lists of 1;" in done.stdout and "HR@1" in done.stdout
    (record,) = (tmp_path / "r").glob("*/*/*/*/record.json")
    figure = f"{json.loads(record.read_text())['metrics']['test']['HR@1']:.4f}"
    assert figure in done.stdout
    reported = cpbench(home, "report", "--results", tmp_path / "r", "--format", "markdown").stdout
    assert "| HR@1 |" in reported and figure in reported


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("lists.csv", "--dataset", "tiny"), "has neither a column 'score' nor a column 'rank' (it has uid, track, s)"),
    (("lists.csv", "--dataset", "tiny", "--columns", "score=s"),
     "unknown column 'user'; Known: s, track, uid (--columns user=COLUMN names another)"),
    (("absent.csv", "--dataset", "tiny"), "absent.csv cannot be read: No such file or directory"),
    (("lists.csv", "--dataset", "tinny"), "unknown dataset 'tinny'; did you mean 'tiny'?"),
    (("lists.csv", "--dataset", "ml-1m"), "dataset 'ml-1m' is not prepared yet: run `cpbench download ml-1m`"),
    (("lists.csv", "--dataset", "tiny", "--split", "random"), "unknown split 'random'"),
    (("lists.csv", "--dataset", "tiny", "--serving-lag", "soon"), "--serving-lag 'soon' is not a length of time"),
    (("lists.csv", "--dataset", "tiny", "--name", "sasrec"), "'sasrec' is the name of a model of cpbench"),
    (("lists.csv", "--dataset", "tiny", "--columns", "score=s,rank=s"), "names both a score and a rank"),
])
def test_bad_usage_is_one_sentence_and_status_2(home, tmp_path, arguments, sentence):
    assert sentence in refused(cpbench(home, "eval", *arguments, "--results", tmp_path / "results"), 2)
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_written(home):
    ask = ("eval", "lists.csv", "--dataset", "tiny", "--columns", "user=uid,item=track,score=s")
    assert "cannot write" in refused(cpbench(home, *ask, "--results", "users.txt"), 1)
