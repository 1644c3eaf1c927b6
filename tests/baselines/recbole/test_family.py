"""Which names `recbole:NAME` takes, and what is said of the others."""

import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
from cpbench.baselines.recbole import compatibility, family
from cpbench.baselines.recbole.family import REFUSED, RecBole

from cpbench.errors import UsageError
from cpbench.experiments.plan import plan
from cpbench.models.registry import family_names, find_class, model_class, model_names

installed = pytest.mark.skipif(find_spec("recbole") is None, reason="RecBole is not installed: the extra `recbole`")


@installed
@pytest.mark.parametrize(("name", "settings", "sentence"), [
    ("recbole:SASRek", {}, r"unknown RecBole model 'SASRek'; did you mean 'SASRec' or 'SASRecF'\?"),
    ("recbole:sasrec", {}, r"unknown RecBole model 'sasrec'; did you mean 'SASRec'\?"),
    ("recbole:LightGCN", {}, "recbole:LightGCN is not a sequential model but a general one"),
    ("recbole:KGAT", {}, "recbole:KGAT is not a sequential model but a knowledge-aware one"),
    ("recbole:S3Rec", {}, "recbole:S3Rec cannot be run here: it is trained in two runs"),
    ("recbole", {}, "recbole is a family of models: name one of them, as in recbole:SASRec; known: BERT4Rec, CORE"),
    ("recbole:", {}, "recbole is a family of models"),
    ("recbowl:SASRec", {}, r"unknown family of models 'recbowl'; did you mean 'recbole'\?"),
    ("recbole:SASRec", {"hidden_siz": 3}, r"is called 'hidden_siz', did you mean 'hidden_size'\?"),
    ("recbole:SASRec", {"loss_type": "mse"}, "loss_type = 'mse' should be 'CE' or 'BPR'"),
    ("recbole:SASRec", {"epochs": 0}, "epochs = 0 should be greater than or equal to 1"),
    ("recbole:SASRec", {"hidden_size": "wide"}, "hidden_size = 'wide' should be a valid integer"),
])
def test_what_cannot_be_run(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan([name], ["streaming"], [1], overrides=settings)


@installed
def test_a_member_is_one_class_found_under_its_name() -> None:
    assert "recbole" in family_names() and "recbole" not in model_names()
    found = model_class("recbole:SASRec")
    assert found is find_class("recbole:SASRec") is RecBole.member("SASRec")
    assert found.name == "recbole:SASRec"
    [cell] = plan(["recbole:SASRec"], ["streaming"], [1], overrides={"hidden_size": 32})
    assert cell.settings.config["hidden_size"] == 32
    assert cell.settings.sources["hidden_size"] == "--set"
    assert len(RecBole.members()) == 26


@installed
def test_the_names_that_are_read_are_those_that_recbole_has(monkeypatch: pytest.MonkeyPatch) -> None:
    compatibility.require()
    from recbole.model import sequential_recommender

    classes = {name for name, found in vars(sequential_recommender).items() if isinstance(found, type)}
    assert {*RecBole.members(), *REFUSED} == classes
    monkeypatch.setattr(family, "find_spec", lambda name: None)  # as if it lay in no folder: then they are imported
    assert {*RecBole.members(), *REFUSED} == classes


@installed
def test_listing_the_models_does_not_import_recbole() -> None:
    code = ("import sys\nfrom cpbench.experiments.model_list import registered_models\n"
            "print(registered_models()[-1].description, [name for name in sys.modules if name.startswith('recbole')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("RecBole's sequential models: BERT4Rec, CORE") and done.stdout.endswith(" []\n")


@pytest.mark.parametrize(("error", "sentence"), [
    (ModuleNotFoundError("No module named 'recbole'", name="recbole"), "RecBole is not installed: "),
    (ModuleNotFoundError("No module named 'pandas'", name="pandas"),
     "RecBole is installed but lacks a package (No module named 'pandas'): "),
    (AttributeError("no np.bool8"), "RecBole is installed but does not import (AttributeError: no np.bool8): "),
])
def test_recbole_absent_or_broken(error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(compatibility.importlib, "import_module", fail)
    with pytest.raises(UsageError) as raised:
        model_class("recbole:SASRec")
    assert str(raised.value) == sentence + compatibility.INSTALL
    monkeypatch.setattr(family, "find_spec", lambda name: None)  # its files, too, say nothing
    assert sentence in RecBole.describe()
