"""`cpbench check-model`."""

import json
from pathlib import Path

import pytest

from tests.cli.process import cpbench, own_process
from tests.cli.refusal import refused

BROKEN = '''
from cpbench.baselines.item_knn import ItemKNN

class Broken(ItemKNN):
    """Shows everything in bold: [red]."""
    def score(self, histories):
        return super().score(histories) * float("nan")
'''


def test_a_good_model_exits_with_zero(tmp_path: Path) -> None:
    done = cpbench(tmp_path, "check-model", "seq-item-knn")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seq-item-knn: all 16 checks passed" in done.stdout
    assert "no training loss: not applicable" in done.stdout


def test_a_class_in_the_current_folder_that_fails_exits_with_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    done = own_process(tmp_path, "check-model", "mine:Broken", "--json")
    assert done.returncode == 1
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["model"] == "mine:Broken" and not document["ok"]
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["config"] == {"name": "config", "ok": True, "message": ""}
    assert not checks["scores"]["ok"] and checks["scores"]["message"].endswith("scores are NaN or infinite")


@pytest.mark.parametrize(("line", "message"), [
    ("name = None", "the class has no name"), ("name = 'a/b'", "the name 'a/b' cannot be that of a file")])
def test_a_model_without_a_usable_name(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(BROKEN.replace("    def score", f"    {line}\n    def score"))
    done = own_process(tmp_path, "check-model", "mine:Broken", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["checks"][0] == {"name": "config", "ok": False, "message": message}


def test_what_a_model_prints_is_no_part_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN.replace("        return", "        print('scoring')\n        return"))
    done = own_process(tmp_path, "check-model", "mine:Broken", "--json")
    assert json.loads(done.stdout)["model"] == "mine:Broken"
    assert "scoring" in done.stderr


def test_a_model_that_leaves_the_process_is_not_taken_for_one_that_passed(tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text("import sys; sys.exit(0)")
    assert refused(own_process(tmp_path, "check-model", "leaving:Model"), 2).startswith(
        "'leaving:Model' cannot be imported: SystemExit: 0")
    (tmp_path / "mine.py").write_text(BROKEN.replace('return super().score(histories) * float("nan")', "exit(0)"))
    done = own_process(tmp_path, "check-model", "mine:Broken", "--json")
    assert done.returncode == 1
    failed = [check["message"] for check in json.loads(done.stdout)["checks"] if not check["ok"]]
    assert "SystemExit: 0" in failed


@pytest.mark.parametrize(("reference", "sentence"), [
    ("eas", "unknown model 'eas'; did you mean 'ease' or 'esasrec'?"),
    ("EASE", "unknown model 'EASE'; did you mean 'ease'?"),
    ("nowhere:Model", "'nowhere:Model' cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
    ("pathlib:Nothing", "'pathlib:Nothing' cannot be imported: AttributeError"),
    ("pathlib:Path", "'pathlib:Path' is not a cpbench Recommender"),
    ("two words:", "'two words:' is neither a registered model nor of the form PACKAGE.MODULE:CLASS"),
])
def test_no_such_model_is_bad_usage(tmp_path: Path, reference: str, sentence: str) -> None:
    assert refused(cpbench(tmp_path, "check-model", reference), 2).startswith(sentence)
