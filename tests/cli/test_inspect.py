"""`cpbench inspect`, as a user runs it."""

import json
from pathlib import Path

import pytest

from tests.cli.process import cpbench
from tests.cli.refusal import refused


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "events.csv").write_text("who,what,at\nann,x,0\nann,y,60\nbob,x,5\nbob,[red]y[/],100000\n")
    (folder / "home").mkdir()
    done = cpbench(folder / "home", "download", "mine", "--from", str(folder / "events.csv"), "--columns",
                   "user=who,item=what,time=at")
    assert done.returncode == 0, done.stderr
    return folder / "home"


def test_json_and_figure(home: Path, tmp_path: Path) -> None:
    done = cpbench(home, "inspect", "mine", "--json", "--figure", str(tmp_path / "mine.png"))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["users"], facts["items"], facts["interactions"]) == (2, 3, 4)
    assert facts["consumption_lag"] == {"0s": 0.0, "60s": 0.5, "15min": 0.5, "1day": 0.5}
    assert facts["figure"] == str(tmp_path / "mine.png")
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_the_view_and_the_default_figure(home: Path) -> None:
    done = cpbench(home, "inspect", "mine")
    assert done.returncode == 0, done.stderr
    assert "within 60s: 0.500" in done.stdout
    assert "in steps of a second" in done.stdout
    assert f"figure: {home / 'figures' / 'mine.png'}" in done.stderr
    assert (home / "figures" / "mine.png").is_file()


def test_what_is_not_there(home: Path) -> None:
    assert "is not prepared yet: run `cpbench download ml-1m`" in refused(cpbench(home, "inspect", "ml-1m"), 2)
    assert "unknown dataset 'mime'; did you mean 'mine'" in refused(cpbench(home, "inspect", "mime"), 2)


@pytest.mark.parametrize("name", ["x.txt", "x.pdf", "x"])
def test_a_figure_that_is_called_something_else(home: Path, tmp_path: Path, name: str) -> None:
    done = cpbench(home, "inspect", "mine", "--figure", tmp_path / name)
    assert refused(done, 2) == f"--figure {tmp_path / name}: what is written is a PNG, so let the name end in .png"
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_cannot_be_written(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = cpbench(home, "inspect", "mine", "--figure", str(tmp_path / "file" / "x.png"))
    assert refused(done, 1).startswith("cannot write ")
