import json
from pathlib import Path

import pytest

from tests.cli.process import cpbench
from tests.cli.refusal import refused
from tests.experiments.tiny import place, tiny

FAST = ("--set", "epochs=1", "--set", "width=8", "--set", "category_width=2", "--set", "layers=1", "--serving-lag", "0")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    place(folder, tiny(length=16))
    return folder


def test_it_writes_table_and_figure_and_is_resumable(home):
    arguments = ("ablate", "branches", "--dataset", "tiny", "--seeds", "1", *FAST, "--results", home / "r", "--json")
    first = cpbench(home, *arguments)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert [row["variant"] for row in document["rows"]] == ["K = 1", "K = 2", "K = 3", "K = 4"]
    folder = home / "r" / "ablations" / "branches" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == [
        "branches.pdf", "branches.png", "branches.svg", "table.json", "table.md"]
    assert (folder / "table.md").read_text().startswith("# branches on tiny")
    second = cpbench(home, *arguments)
    assert "already done, skipped" in second.stderr and "epoch 1/1" not in second.stderr
    assert json.loads(second.stdout)["rows"] == document["rows"]


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("tamp",), "unknown ablation 'tamp'; did you mean 'tamip'?"),
    (("tamip", "--dataset", "tiny,tiny"), "one dataset"),
    (("tamip", "--dataset", "tyni"), "did you mean 'tiny'"),
    (("tamip", "--dataset", "tiny", "--set", "mode=nip"), "varies it itself"),
    (("tamip", "--dataset", "tiny", "--serving-lag", "soon"), "not a length of time"),
    (("cgsa", "--dataset", "tiny", "--condition", "gender"), "did you mean 'genre'"),
])
def test_bad_usage_is_one_sentence(home, arguments, sentence):
    assert sentence in refused(cpbench(home, "ablate", *arguments), 2)
