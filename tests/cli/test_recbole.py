"""`recbole:NAME` on the command line, with RecBole and without."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.process import cpbench
from tests.cli.refusal import refused
from tests.experiments.tiny import place, tiny

installed = pytest.mark.skipif(find_spec("recbole") is None, reason="RecBole is not installed: the extra `recbole`")
RUN = ("run", "--model", "recbole:GRU4Rec", "--dataset", "tiny", "--set", "epochs=2", "--set", "hidden_size=8")


@installed
def test_a_run_its_table_and_its_recommendations(tmp_path: Path) -> None:
    place(tmp_path, tiny())
    done = cpbench(tmp_path, *RUN, "--json", "--quiet")
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


@installed
@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--model", "recbole:SASRek"), "unknown RecBole model 'SASRek'; did you mean 'SASRec' or 'SASRecF'?"),
    (("--model", "recbole:LightGCN"), "recbole:LightGCN is not a sequential model but a general one"),
    (("--model", "recbole:S3Rec"), "recbole:S3Rec cannot be run here: it is trained in two runs"),
    (("--model", "recbole"), "recbole is a family of models: name one of them, as in recbole:SASRec"),
    (("--model", "recbole:SASRec", "--set", "hidden_siz=3"), "is called 'hidden_siz', did you mean 'hidden_size'?"),
    (("--model", "recbole:SASRec", "--set", "loss_type=mse"), "loss_type = 'mse' should be 'CE' or 'BPR'"),
])
def test_what_cannot_be_run(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(cpbench(tmp_path, "run", "--dataset", "streaming", *arguments), 2)


@pytest.mark.parametrize(("source", "sentence"), [
    ("raise ModuleNotFoundError(\"No module named 'recbole'\", name='recbole')", "RecBole is not installed: "),
    ("raise ModuleNotFoundError(\"No module named 'pandas'\", name='pandas')",
     "RecBole is installed but lacks a package (No module named 'pandas'): "),
    ("raise AttributeError('no np.bool8')", "RecBole is installed but does not import (AttributeError: no np.bool8): "),
])
def test_recbole_absent_or_broken(tmp_path: Path, source: str, sentence: str) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "recbole.py").write_text(source)
    path = str(tmp_path / "fake")
    said = refused(cpbench(tmp_path, "run", "--model", "recbole:SASRec", "--dataset", "streaming", PYTHONPATH=path), 2)
    assert said == f"{sentence}`pip install 'cpbench[recbole]'` installs it (RecBole 1.2.1, which needs Python 3.11)"


def test_the_list_of_models_does_without_it(tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "recbole.py").write_text("raise ModuleNotFoundError('gone', name='recbole')")
    done = cpbench(tmp_path, "models", "--json", PYTHONPATH=str(tmp_path / "fake"))
    [family] = [model for model in json.loads(done.stdout)["models"] if model["name"] == "recbole:NAME"]
    assert "RecBole is not installed" in family["description"]
    assert family["trained_by"] == "RecBole"
    assert family["error"] == ""


def test_export_and_download_again(tmp_path: Path) -> None:
    place(tmp_path, tiny())
    done = cpbench(tmp_path, "export-data", "tiny", "--format", "recbole", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["tiny/tiny.inter", "tiny/tiny.item"]
    again = cpbench(tmp_path, "download", "again", "--from", "tiny/tiny.inter", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["datasets"][0]["counts"] == {"users": 40, "items": 30, "interactions": 480}
    for form, sentence in (("recbole", "tiny.inter exists already"), ("csv", "unknown format 'csv'; Known: recbole")):
        assert sentence in refused(cpbench(tmp_path, "export-data", "tiny", "--format", form), 2)
    said = refused(cpbench(tmp_path, "download", "x", "--from", "x.inter", "--columns", "user=u,item=i,time=t"), 2)
    assert said == "x.inter names its columns itself: leave --columns out"
