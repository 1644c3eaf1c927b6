import json
import shlex
from pathlib import Path

import pytest

from tests.cli.process import cpbench, on_a_terminal
from tests.cli.refusal import refused
from tests.experiments.tiny import place, tiny

SHORT = ("--set", "epochs=2", "--dataset", "tiny")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    place(folder, tiny())
    return folder


def test_a_search_and_the_run_that_it_names(home: Path, tmp_path: Path) -> None:
    search = ("tune", "--model", "sasrec,ease", *SHORT, "--trials", "3", "--serving-lag", "1h", "--results", tmp_path)
    done = cpbench(home, *search, "--json")
    assert done.returncode == 0, done.stderr
    assert "[1/6] sasrec on tiny, the recipe 'tuned' with epochs=2" in done.stderr
    assert "[4/6] ease on tiny, the recipe 'tuned' as it is" in done.stderr
    assert "--set epochs does not apply to ease" in done.stderr and "[6/6] ease on tiny, ridge=" in done.stderr
    sasrec, ease = json.loads(done.stdout)["searches"]
    assert len(sasrec["trials"]) == len(ease["trials"]) == 3 and sasrec["fixed"] == {"epochs": 2}
    assert sasrec["circumstances"]["command"].startswith("cpbench tune --model sasrec,ease")
    words = shlex.split(sasrec["run"])
    assert words[:2] == ["cpbench", "run"] and words[-4:] == ["--serving-lag", "1h", "--seeds", "1,2,3"]
    run = cpbench(home, *words[1:-1], "1", "--json", "--results", tmp_path)
    assert run.returncode == 0, run.stderr
    (record,) = [each["record"] for each in json.loads(run.stdout)["runs"]]
    assert record["metrics"]["valid"] == sasrec["best"]["valid"]

    table = cpbench(home, *search)
    assert table.returncode == 0 and "3 trials are done already" in table.stderr and "[1/" not in table.stderr
    assert "sasrec on tiny: validation" in table.stdout and "recipe" in table.stdout
    assert "cpbench run --model sasrec --dataset tiny --set epochs=2 --set" in table.stderr
    assert cpbench(home, "report", "--results", tmp_path).returncode == 0  # ledgers are no records
    rows = [line.split() for line in on_a_terminal(home, 80, *search)]
    for trial in sasrec["trials"]:
        assert any({str(value) for value in trial["settings"].values()} <= set(row) for row in rows), "a cut value"


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--model", "sasrec", "--dataset", "tiny,other"), "--dataset takes one dataset here"),
    (("--model", "sasrec", "--dataset", "tiny", "--try", "width"), "is not of the form KEY=LOW..HIGH or KEY=A,B,C"),
    (("--model", "sasrec", "--dataset", "tiny", "--try", "widht=8,9"), "did you mean 'width'?"),
    (("--model", "sasrek", "--dataset", "tiny"), "did you mean 'sasrec'"),
    (("--model", "sasrec", "--dataset", "tiny", "--trials", "0"), "'--trials': Input should be greater than or equal"),
    (("--model", "sasrec"), "Missing option '--dataset'"),
])
def test_refusals(home: Path, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(cpbench(home, "tune", *arguments), 2)


def test_a_search_without_a_trial_that_worked_has_failed(home: Path, tmp_path: Path) -> None:
    done = cpbench(home, "tune", "--model", "sasrec", *SHORT, "--set", "width=8", "--set", "heads=3", "--try",
                   "dropout=0.1,0.2", "--trials", "2", "--results", tmp_path, "-q")
    assert done.returncode == 1 and "error: no trial of sasrec succeeded" in done.stderr
    assert "Traceback" not in done.stderr and "failed" in done.stdout
