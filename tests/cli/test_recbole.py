"""`recbole:NAME` on the command line, with RecBole and without."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.process import cpbench, own_process
from tests.cli.refusal import refused
from tests.experiments.tiny import place, tiny

installed = pytest.mark.skipif(find_spec("recbole") is None, reason="RecBole is not installed: the extra `recbole`")
RUN = ("run", "--model", "recbole:GRU4Rec", "--dataset", "tiny", "--set", "epochs=2", "--set", "hidden_size=8")


@installed
def test_a_run_its_table_and_its_recommendations(tmp_path: Path) -> None:
    place(tmp_path, tiny())
    done = own_process(tmp_path, *RUN, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    [run] = json.loads(done.stdout)["runs"]  # one document, nothing of RecBole's
    record = run["record"]
    assert run["folder"].startswith("results/tiny/leave-one-out/recbole_GRU4Rec/defaults-seed1-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "results"]  # no saved/, no log/
    settings = {"epochs": 2, "hidden_size": 8, "learning_rate": 0.001, "train_batch_size": 2048, "loss_type": "CE",
                "MAX_ITEM_LIST_LENGTH": 50, "embedding_size": 64, "learner": "adam"}
    assert settings.items() <= record["config"].items()
    assert record["versions"]["recbole"] == "1.2.1"
    assert record["cost"]["epochs"] == 2
    assert record["cost"]["best_epoch"] in (1, 2)
    assert len(json.loads((tmp_path / run["folder"] / "curve.json").read_text())) == 2
    table = cpbench(tmp_path, "report", "--format", "csv")
    assert "recbole:GRU4Rec" in table.stdout
    lists = cpbench(tmp_path, "recommend", "recbole:GRU4Rec", "--user", "u3", "--json")
    assert lists.returncode == 0, lists.stderr


def test_without_recbole(tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "recbole.py").write_text("raise ModuleNotFoundError('gone', name='recbole')")
    path = str(tmp_path / "fake")
    done = own_process(tmp_path, "run", "--model", "recbole:SASRec", "--dataset", "streaming", PYTHONPATH=path)
    said = refused(done, 2)
    assert said == ("RecBole is not installed: `pip install 'cpbench[recbole]'` installs it (RecBole 1.2.1, which "
                    "needs Python 3.11)")
    done = own_process(tmp_path, "models", "--json", PYTHONPATH=path)  # the list does without it
    [family] = [model for model in json.loads(done.stdout)["models"] if model["name"] == "recbole:NAME"]
    assert "RecBole is not installed" in family["description"]
    assert (family["trained_by"], family["error"]) == ("RecBole", "")


def test_export_and_download_again(tmp_path: Path) -> None:
    place(tmp_path, tiny())
    done = cpbench(tmp_path, "export-data", "tiny", "--format", "recbole", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["tiny/tiny.inter", "tiny/tiny.item"]
    again = cpbench(tmp_path, "download", "again", "--from", "tiny/tiny.inter", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["datasets"][0]["counts"] == {"users": 40, "items": 30, "interactions": 480}
    other = cpbench(tmp_path, "export-data", "tiny", "--format", "csv")
    assert refused(other, 2) == "unknown format 'csv'; Known: recbole"
    said = refused(cpbench(tmp_path, "download", "x", "--from", "x.inter", "--columns", "user=u,item=i,time=t"), 2)
    assert said == "x.inter names its columns itself: leave --columns out"
