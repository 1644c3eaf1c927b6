import json
from pathlib import Path

import pytest

from tests.cli.process import cpbench
from tests.cli.refusal import refused
from tests.experiments.tiny import place, tiny

SMALL = ("--users", "60", "--days", "5")
METRICS = {"like_rate", "listening_minutes", "genre_diversity", "language_diversity"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    place(folder, tiny())
    for models, dataset in (("popularity,item-knn", "streaming"), ("popularity", "streaming-unordered"),
                            ("item-knn", "tiny")):
        done = cpbench(folder, "run", "--model", models, "--dataset", dataset)
        assert done.returncode == 0, done.stderr
    return folder


def test_one_json_document_which_is_also_written(home):
    run = ("simulate", "--policy", "streaming/popularity", "--policy", "streaming/item-knn", "--policy",
           "streaming/popularity", *SMALL, "--json")
    done = cpbench(home, *run)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    labels = ["popularity #1", "item-knn", "popularity #2"]
    assert [policy["label"] for policy in document["policies"]] == labels
    assert "serving: item-knn" in done.stderr and done.stderr.endswith(f"written: {document['file']}\n")
    assert (document["dataset"], document["users"], document["days"], document["seed"]) == ("streaming", 60, 5, 1)
    assert document["world"]["serving_lag"] == 900
    first, second, again = document["policies"]
    assert first["against_first"] is None and first["served_by"] == "scores"
    assert set(second["metrics"]) == {"all", "low", "middle", "high"} == set(document["groups"])
    assert set(second["metrics"]["all"]) == METRICS == set(second["against_first"]["low"])
    assert second["against_first"]["all"]["listening_minutes"]["difference"] > 0
    assert again["metrics"] == first["metrics"] and again["totals"] == first["totals"]
    assert {value for by_metric in again["against_first"].values() for gap in by_metric.values()
            for value in gap.values()} <= {0.0, None}
    written = json.loads((home / document["file"]).read_text())
    assert Path(document["file"]).match("results/streaming/simulation/*/simulation.json")
    assert written == {key: value for key, value in document.items() if key != "file"}

    assert json.loads(cpbench(home, *run).stdout) == document
    other = json.loads(cpbench(home, *run, "--seed", "2", "--serving-lag", "1d", "--set", "leave=0.5").stdout)
    assert other["file"] != document["file"] and other["policies"][1]["metrics"] != second["metrics"]
    assert other["world"]["serving_lag"] == 86400 and other["world"]["leave"] == 0.5
    assert cpbench(home, "report").returncode == 0  # what was written does not disturb it


def test_the_table_and_a_single_policy(home):
    done = cpbench(home, "simulate", "--policy", "streaming/popularity", "--policy", "streaming/item-knn", *SMALL,
                   "--quiet", NO_COLOR="1")
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout
    for text in ("all (60)", "low (", "middle (", "high (", "item-knn", "like rate", "lift over the first policy"):
        assert text in done.stdout
    alone = cpbench(home, "simulate", "--policy", "streaming/popularity", *SMALL, "--quiet").stdout
    assert "popularity" in alone and "lift" not in alone and "%" not in alone


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--policy", "tiny/item-knn"), "dataset 'tiny' is not simulated"),
    (("--policy", "streaming/popularity", "--policy", "streaming-unordered"),
     "policies serve the same users, but streaming-unordered was trained on streaming-unordered and "),
    ((), "--policy"),
    (("--policy", "streaming/popularity", "--users", "1801"), "1,801 users were asked for, but streaming has 1,800"),
    (("--policy", "streaming/popularity", "--set", "busier=1e-9"), "none of 1,800 users comes within 14 days"),
    (("--policy", "streaming/popularity", "--set", "leav=1"), "unknown setting 'leav'; did you mean 'leave'"),
    (("--policy", "streaming/popularity", "--set", "serving_lag=1"), "an option of its own: --serving-lag"),
])
def test_bad_usage_is_one_sentence_and_status_2(home, arguments, sentence):
    assert sentence in refused(cpbench(home, "simulate", *arguments), 2)


def test_a_results_folder_that_cannot_be_written_is_one_sentence(home, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "streaming").write_text("in the way")
    folder = next(path.parent for path in home.glob("results/streaming/*/popularity/*/record.json"))
    assert "cannot write" in refused(cpbench(home, "simulate", "--policy", folder, *SMALL, "--results", results,
                                             "--quiet"), 1)
