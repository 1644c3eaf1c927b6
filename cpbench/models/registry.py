"""Models by name: an entry-point group, so that another package can add one without touching this repository."""

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
    entry = _entries()[name]
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"model {name!r} ({entry.value}) cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Recommender)):
        raise UsageError(f"model {name!r} ({entry.value}) is not a cpbench Recommender")
    return found
