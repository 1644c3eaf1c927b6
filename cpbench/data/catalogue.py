"""Which datasets there are, which are ready, and where they lie: public cards, `streaming`, and the user's own."""

from pathlib import Path
from typing import Any

from cpbench.data.card import cards
from cpbench.data.dataset import Dataset, read_manifest
from cpbench.errors import UsageError, unknown
from cpbench.files import home

STANDARD = ("ml-1m", "amazon-beauty", "lastfm")
"""What `cpbench download` without a name fetches: one dataset of each family."""


def prepared_folder(name: str) -> Path:
    return home() / "prepared" / name


def is_prepared(name: str) -> bool:
    """Whether the files of a prepared dataset lie in the cache."""
    return (prepared_folder(name) / "manifest.json").is_file()


def own_names() -> list[str]:
    """The user's own datasets: prepared, and without a card."""
    try:
        found = sorted(entry.name for entry in (home() / "prepared").iterdir() if not entry.name.startswith("."))
    except OSError:  # nothing was ever prepared
        return []
    return [name for name in found if name not in cards() and is_prepared(name)]


def public_names() -> list[str]:
    """The datasets that can be downloaded."""
    return [name for name, card in cards().items() if card.kind == "public"]


def known_names() -> list[str]:
    """Every name that `load` may be given: cards (ready or not) and the user's own."""
    return [*cards(), *own_names()]


def ready_names() -> list[str]:
    """Public datasets and the user's own that are prepared; never `streaming`."""
    return [*(name for name in public_names() if is_prepared(name)), *own_names()]


def is_ready(name: str) -> bool:
    """Whether `load` would succeed without a download; a simulated dataset is always ready."""
    if name in cards() and cards()[name].kind == "simulated":
        return True
    return name in known_names() and is_prepared(name)


def load(name: str) -> Dataset:
    """The prepared dataset `name`; `streaming` is generated when it is not there yet.

    Raises UsageError for an unknown name (with the nearest ones), and for one that must be downloaded first.
    """
    if name not in known_names():
        raise unknown("dataset", name, known_names())
    if name in cards() and cards()[name].kind == "simulated":
        from cpbench.data.streaming import StreamingConfig, load_or_generate

        return load_or_generate(prepared_folder(name), StreamingConfig(**cards()[name].simulator), name)
    if not is_prepared(name):
        raise UsageError(f"dataset {name!r} is not prepared yet: run `cpbench download {name}`")
    return Dataset.load(prepared_folder(name))


def manifest(name: str) -> dict[str, Any]:
    """The manifest of a prepared dataset. Raises UsageError when it cannot be read."""
    return read_manifest(prepared_folder(name))


def exclude_seen_default(name: str) -> bool:
    """Whether seen items leave the ranking unless the user says otherwise.

    Raises UsageError for an unknown name.
    """
    if name in cards():
        return cards()[name].exclude_seen
    if name in own_names():
        return bool(manifest(name).get("exclude_seen", True))
    raise unknown("dataset", name, known_names())
