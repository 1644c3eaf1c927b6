"""Models by name: an entry-point group, so that another package can add one without touching this repository."""

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from cpbench.errors import UsageError, unknown
from cpbench.models.base import Recommender

GROUP = "cpbench.models"


@cache
def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def model_names() -> list[str]:
    """Every registered name, sorted."""
    return sorted(_entries())


def model_class(name: str) -> type[Recommender]:
    """The class registered under `name`. Raises UsageError for an unknown name or a package that does not import."""
    if name not in _entries():
        raise unknown("model", name, model_names())
    return _load(_entries()[name], f"model {name!r} ({_entries()[name].value})")


def find_class(reference: str) -> type[Recommender]:
    """The class called `reference`: a registered name, or PACKAGE.MODULE:CLASS. Raises UsageError as `model_class`."""
    if ":" not in reference:
        return model_class(reference)
    if not re.fullmatch(r"[\w.]+:[\w.]+", reference):
        raise UsageError(f"{reference!r} is neither a registered model nor of the form PACKAGE.MODULE:CLASS")
    return _load(EntryPoint(reference, reference, GROUP), f"{reference!r}")


def distribution(name: str) -> str:
    """The installed package that registers `name`."""
    found = _entries()[name].dist
    return found.name if found else "unknown"


def _load(entry: EntryPoint, label: str) -> type[Recommender]:
    try:
        found = entry.load()
    except Exception as error:  # another package's import may fail in any way
        raise UsageError(f"{label} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Recommender)):
        raise UsageError(f"{label} is not a cpbench Recommender")
    return found
