import json

import pytest

from tests.cli.process import cpbench
from tests.cli.refusal import refused
from tests.report.records import record, store


@pytest.fixture
def results(tmp_path):
    for seed in (1, 2):
        store(tmp_path / "results", record("sasrec", seed, 0.4 + seed / 10))
    store(tmp_path / "results", record("ease", 1, 0.2))
    return tmp_path / "results"


def test_every_format(tmp_path, results):
    broken = store(results, record("item-knn"))
    (broken / "record.json").write_text("{")
    terminal = cpbench(tmp_path, "report", NO_COLOR="1")
    assert terminal.returncode == 0 and "0.5500" in terminal.stdout and "\x1b" not in terminal.stdout
    assert terminal.stderr.startswith("warning: left out: ") and "item-knn" in terminal.stderr
    markdown = cpbench(tmp_path, "report", "--format", "markdown", "--results", results, "--dataset", "tiny")
    assert "| sasrec | tuned | ids |" in markdown.stdout and "**0.5500**<br>±0.0707" in markdown.stdout
    document = json.loads(cpbench(tmp_path, "report", "--json").stdout)
    assert [row["model"] for row in document["tables"][0]["rows"]] == ["sasrec", "ease"]
    assert len(document["warnings"]) == 2
    assert "ranks.parquet cannot be read" in document["warnings"][1] and "(and 2 more)" in document["warnings"][1]
    table = cpbench(tmp_path, "report", "--format", "csv").stdout.splitlines()
    assert len(table) == 3 and table[0].startswith("dataset,split,serving_lag,exclude_seen,")


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--dataset", "tinny"), "unknown dataset 'tinny'; did you mean 'tiny'?"),
    (("--dataset", "ml-1m"), "no run on ml-1m is recorded in results, only on tiny"),
    (("--format", "markdwon"), "unknown format 'markdwon'; did you mean 'markdown'?"),
    (("--json", "--format", "csv"), "--json and --format csv contradict each other"),
    (("--results", "nowhere"), "no run record in nowhere, which does not exist; make one with "
     "`cpbench run --model popularity,sasrec,climber-pilot --results nowhere`"),
    (("--results", "results/tiny"), "--results results/tiny`, or give --results results, where there are some"),
    (("--results", "."), "--results .`, or give --results results, where there are some"),
    (("--results", "results/tiny/file"), "results/tiny/file is no folder: give that of the run records"),
    (("--dataset", ""), "--dataset '' names nothing: give a name, or leave --dataset out"),
    (("--model", ","), "--model ',' names nothing"),
    (("--out", ""), "--out '' names nothing"),
])
def test_bad_usage_is_one_sentence_and_status_2(tmp_path, results, arguments, sentence):
    (results / "tiny" / "file").write_text("")
    done = cpbench(tmp_path, "report", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and sentence in done.stderr


def test_a_folder_with_everything(tmp_path, results):
    done = cpbench(tmp_path, "report", "--out", "made", "--reference", "ease")
    assert done.returncode == 0, done.stderr
    assert "no critical difference diagram" in done.stderr.lower()
    files = done.stdout.split()
    made = tmp_path / "made"
    assert {path.name for path in made.iterdir()} == {"report.md", "report.csv", "report.json", "report.tex",
                                                      "report.html", "figures"}
    assert {path.suffix for path in (made / "figures").iterdir()} == {".png", ".svg", ".pdf"}
    assert len(files) == 5 + len(list((made / "figures").iterdir()))
    page = (made / "report.html").read_text()
    assert "data:image/svg+xml;base64," in page and "../results/tiny/" in page
    one = cpbench(tmp_path, "report", "--out", "one", "--format", "latex", "--json")
    assert json.loads(one.stdout)["files"][0] == "one/report.tex" and not (tmp_path / "one" / "report.md").exists()


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--reference", "eese"), "unknown reference model 'eese'; did you mean 'ease'"),
    (("--model", "sasrek"), "unknown model among these runs 'sasrek'; did you mean 'sasrec' or 'ease'?"),
    (("--out", "made", "--format", "terminal"), "--out writes files, and a terminal is none"),
    (("--out", "results/tiny/file"), "results/tiny/file is a file, where the report has a folder"),
    (("--out", "results/tiny/file/made"), "results/tiny/file is a file, where the report has a folder"),
])
def test_bad_usage_of_the_newer_options(tmp_path, results, arguments, sentence):
    (results / "tiny" / "file").write_text("")
    done = cpbench(tmp_path, "report", *arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr and sentence in done.stderr


@pytest.mark.parametrize(("blocked", "found", "needed"), [("report.html", "folder", "file"),
                                                          ("figures", "file", "folder")])
def test_a_report_is_written_whole_or_not_at_all(tmp_path, results, blocked, found, needed):
    made = tmp_path / "made"
    made.mkdir()
    (made / "report.md").write_text("the last one")
    (made / blocked).mkdir() if found == "folder" else (made / blocked).write_text("")
    sentence = refused(cpbench(tmp_path, "report", "--out", "made"), 2)
    assert f"made/{blocked} is a {found}, where the report has a {needed}" in sentence
    assert {path.name for path in made.iterdir()} == {"report.md", blocked}
    assert (made / "report.md").read_text() == "the last one"


def test_runs_with_settings_made_by_hand_can_be_left_out(tmp_path, results):
    store(results, record("sasrec", 3, 0.9, config={"width": 32, "loss": "bce"},
                          config_sources={"width": "--set", "loss": "default"}), "tuned-seed3-abc")

    def recipes(*arguments: str) -> list[str]:
        document = json.loads(cpbench(tmp_path, "report", "--json", *arguments).stdout)
        return [row["recipe"] for row in document["tables"][0]["rows"]]

    assert recipes("--recipes-only", "--model", "sasrec") == ["tuned"]
    assert recipes() == ["tuned, width=32", "tuned", "tuned"]
