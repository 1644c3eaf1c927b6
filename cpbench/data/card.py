"""Cards: what a dataset is, where it comes from, and how many rows must come out (``datasets/NAME.toml``)."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpbench.errors import UsageError, invalid, unknown


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceFile(Strict):
    """One official file."""

    role: str
    """What the reader calls it: "archive", "reviews", "meta"."""
    url: str
    mirror: str = Field(pattern=r"^[^/]+/[^/]+$")
    """Its place in a mirror: GROUP/OFFICIAL-FILE-NAME."""
    bytes: int | None = None
    checksum: str | None = Field(None, pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")
    """None: not known; the first download records it."""
    optional: bool = False
    """Preparation goes on without it (item attributes are then missing), with a warning."""

    @property
    def name(self) -> str:
        return self.mirror.rpartition("/")[2]


class Counts(Strict):
    users: int
    items: int
    interactions: int

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.items:,} items, {self.interactions:,} interactions"


class Filters(Strict):
    """Applied in this order."""

    drop_duplicates: bool = False
    """Of several interactions of one user with one item, only the first row of the file stays."""
    k_core: int = Field(0, ge=0)
    """Users and items with fewer interactions are removed until none is left."""


class Card(Strict):
    name: str
    title: str
    family: str
    kind: Literal["public", "simulated"] = "public"
    licence: str
    homepage: str = ""
    citation: str = ""
    reader: str = ""
    files: list[SourceFile] = []
    filters: Filters = Filters()
    raw: Counts | None = None
    """Counts of the official files before the filters (interactions = rows)."""
    expected: Counts | None = None
    """Counts after the filters."""
    granularity: str = ""
    """What one step of the timestamps is worth: "second", "day", ..."""
    exclude_seen: bool = True
    """The protocol's default: off where people naturally repeat an item."""
    attributes: list[str] = []
    simulator: dict[str, Any] = {}
    """Simulated data: knobs of StreamingConfig that differ from their defaults."""
    like: str = ""
    """The dataset whose recipes apply here, too."""


@cache
def cards() -> dict[str, Card]:
    """Every dataset that cpbench knows, by name. Raises UsageError for a card that cannot be read."""
    found = {}
    for entry in sorted(resources.files("cpbench.datasets").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            name = entry.name.removesuffix(".toml")
            try:
                found[name] = Card(name=name, **tomllib.loads(entry.read_text(encoding="utf-8")))
            except ValidationError as error:
                raise UsageError(f"the card datasets/{entry.name} cannot be read: {invalid(error)}") from error
            except ValueError as error:
                raise UsageError(f"the card datasets/{entry.name} cannot be read: {error}") from error
    return found


def card(name: str) -> Card:
    """The card of `name`. Raises UsageError, with the nearest names, when there is none."""
    if name not in cards():
        raise unknown("dataset", name, cards())
    return cards()[name]


def remedy(name: str) -> str:
    """What to do about damaged prepared data of `name`: a known dataset, or the user's own."""
    if name not in cards():
        return f"prepare it again with its own `cpbench download {name} --from FILE ... --force`"
    if cards()[name].kind == "simulated":
        return "it is generated again when it is next used"
    return f"prepare it again with `cpbench download {name} --force`"
