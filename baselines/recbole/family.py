"""The family `recbole`: which of RecBole's models can be run as ``recbole:NAME``, and why the others cannot."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cpbench.errors import UsageError, unknown
from cpbench.models.base import Recommender
from cpbench.models.family import Family

from . import compatibility

REFUSED = {
    "DIN": "it ranks candidates that are given to it, not a whole catalogue",
    "DIEN": "it ranks candidates that are given to it, not a whole catalogue",
    "GRU4RecKG": "it needs vectors of a knowledge graph, which our datasets do not have",
    "KSR": "it needs vectors of a knowledge graph, which our datasets do not have",
    "S3Rec": "it is trained in two runs with a file of weights between them",
}
"""Sequential models that cannot be run here, and why."""


class RecBole(Family):
    """RecBole's sequential models, trained by RecBole on our split and evaluated by us."""

    name = "recbole"
    information = ("user", "categories")
    trained_by = "RecBole"

    @classmethod
    def describe(cls) -> str:
        try:
            return f"RecBole's sequential models: {', '.join(cls.members())}"
        except UsageError as error:
            return f"RecBole's sequential models (SASRec, GRU4Rec, BERT4Rec, ...). {error}"

    @classmethod
    def members(cls) -> list[str]:
        """What may follow ``recbole:``, sorted; found without importing RecBole, which takes seconds.

        Raises UsageError without RecBole. One that is there but does not import is noticed by `member`.
        """
        return sorted(set(_sequential()) - set(REFUSED))

    @classmethod
    def member(cls, name: str) -> type[Recommender]:
        compatibility.require()
        if name in REFUSED:
            raise UsageError(f"recbole:{name} cannot be run here: {REFUSED[name]}")
        if name in _sequential():
            return _class_of(name)
        if kind := _other_kind(name):
            raise UsageError(f"recbole:{name} is not a sequential model but a {kind} one: only RecBole's sequential "
                             "models read a history; `cpbench models` lists them")
        if not name:
            raise UsageError("recbole is a family of models: name one of them, as in recbole:SASRec; known: "
                             f"{', '.join(cls.members())}")
        raise unknown("RecBole model", name, cls.members())


def _sequential() -> set[str]:
    """The names of RecBole's sequential models, read where RecBole imports them. Raises UsageError without RecBole."""
    found = find_spec("recbole")
    for folder in (found and found.submodule_search_locations) or ():
        listing = Path(folder, "model", "sequential_recommender", "__init__.py")
        if listing.is_file():
            return set(re.findall(r"^from \S+ import (\w+)$", listing.read_text(encoding="utf-8"), re.MULTILINE))
    compatibility.require()  # it is not there, or not as files
    from recbole.model import sequential_recommender

    return {name for name, found in vars(sequential_recommender).items() if isinstance(found, type)}


def _other_kind(name: str) -> str:
    """``general``, ``context-aware``, ...: of which kind the model is that is not sequential; empty: there is none."""
    from importlib import import_module

    import recbole.model

    for kind in ("general", "context_aware", "knowledge_aware"):
        with compatibility.undisturbed():
            if hasattr(import_module(f"{recbole.model.__name__}.{kind}_recommender"), name):
                return kind.replace("_", "-")
    return ""


@cache
def _class_of(member: str) -> type[Recommender]:
    from .config import config_class
    from .model import RecBoleModel

    attributes: dict[str, Any] = {"member": member, "name": f"recbole:{member}", "Config": config_class(member),
                                  "__module__": RecBoleModel.__module__, "__doc__": RecBoleModel.__doc__}
    return type(member, (RecBoleModel,), attributes)
