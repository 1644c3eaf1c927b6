"""Models by name: an entry-point group, so that another package can add one without touching this repository.

A second group holds families: the models of another library, each called ``FAMILY:MEMBER``.
"""

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from cpbench.errors import UsageError, unknown
from cpbench.models.base import Recommender
from cpbench.models.family import Family

GROUP = "cpbench.models"
FAMILIES = "cpbench.families"


@cache
def _entries(group: str = GROUP) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def model_names() -> list[str]:
    """Every registered name, sorted; the members of families are not among them."""
    return sorted(_entries())


def family_names() -> list[str]:
    """Every registered family, sorted."""
    return sorted(_entries(FAMILIES))


def family_class(name: str) -> type[Family]:
    """The family registered under `name`. Raises UsageError for a package that does not import."""
    entry = _entries(FAMILIES)[name]
    found: type[Family] = _load(entry, f"family {name!r} ({entry.value})", Family)
    return found


def model_class(name: str) -> type[Recommender]:
    """The class registered under `name`, or the member of a family (``FAMILY:MEMBER``).

    Raises UsageError for an unknown name or a package that does not import.
    """
    family, _, member = name.partition(":")
    if family in family_names():
        return family_class(family).member(member)
    if name not in _entries():
        if ":" in name:
            raise unknown("family of models", family, family_names())
        raise unknown("model", name, [*model_names(), *(f"{family}:NAME" for family in family_names())])
    label = f"model {name!r} ({_entries()[name].value})"
    found: type[Recommender] = _load(_entries()[name], label, Recommender)
    if found.name != name:  # recipes and checkpoints go by the class's name
        raise UsageError(f"{label} calls itself {found.name!r}: the entry point and the class's `name` must agree")
    return found


def find_class(reference: str) -> type[Recommender]:
    """The class called `reference`: a name that `model_class` knows, or PACKAGE.MODULE:CLASS. Raises UsageError."""
    if ":" not in reference or reference.partition(":")[0] in family_names():
        return model_class(reference)
    if not re.fullmatch(r"[\w.]+:[\w.]+", reference):
        raise UsageError(f"{reference!r} is neither a registered model nor of the form PACKAGE.MODULE:CLASS")
    found: type[Recommender] = _load(EntryPoint(reference, reference, GROUP), f"{reference!r}", Recommender)
    return found


def distribution(name: str) -> str:
    """The installed package that registers the model or family `name`."""
    found = (_entries() | _entries(FAMILIES))[name].dist
    return found.name if found else "unknown"


def _load(entry: EntryPoint, label: str, kind: type) -> Any:
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:  # another package's import may fail in any way
        raise UsageError(f"{label} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UsageError(f"{label} is not a cpbench {kind.__name__}")
    return found
