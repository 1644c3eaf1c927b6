"""The Dataset: cleaned interactions as three flat arrays, item attributes, and a manifest.

User u's sequence is ``items[offsets[u]:offsets[u + 1]]``, sorted by (time, original row order).
Every history anywhere in cpbench is a slice of these arrays; nothing is ever copied per user.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cpbench.data.card import remedy
from cpbench.errors import UsageError
from cpbench.files import atomic_folder

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FRESHNESS, POPULARITY = "freshness", "popularity"
"""Conditions that are derived: the names are taken, no attribute of own data can have them."""


def usual_attribute(names: Sequence[str]) -> str | None:
    """The item attribute that is meant where none is named: genre, else category, else the first; None of none."""
    return next((name for name in ("genre", "category", *names) if name in names), None)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the dataset in `folder`. Raises UsageError when it cannot be read."""
    path = folder / "manifest.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "name" not in document:
            raise ValueError("it names no dataset")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); {remedy(folder.name)}") from error
    return document


@dataclass(frozen=True)
class Attribute:
    """A multi-valued item attribute: item i carries ``values[offsets[i]:offsets[i + 1]]`` (indices into `names`)."""

    names: list[str]
    values: np.ndarray  # int32 [V]
    offsets: np.ndarray  # int64 [N + 1]

    @classmethod
    def from_lists(cls, column: pl.Series) -> "Attribute":
        """Index a list[str] column; names are sorted, so the same data gives the same ids."""
        lists = column.fill_null([]).list.unique(maintain_order=True)
        lengths = lists.list.len().to_numpy().astype(np.int64)
        flat = lists.filter(lengths > 0).explode()  # of an empty one, explode would make a null
        names = sorted(flat.drop_nulls().unique().to_list())
        index = {name: position for position, name in enumerate(names)}
        values = np.array([index[value] for value in flat.to_list()], dtype=np.int32)
        return cls(names, values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def sparse(self) -> "csr_array":
        """Membership, float32 [N, len(names)]: of brands or artists there may be as many as items."""
        from scipy.sparse import csr_array

        shape = (len(self.offsets) - 1, len(self.names))
        return csr_array((np.ones(len(self.values), np.float32), self.values, self.offsets), shape=shape)

    def matrix(self) -> np.ndarray:
        """Membership, bool [N, len(names)]."""
        n_items = len(self.offsets) - 1
        member = np.zeros((n_items, len(self.names)), dtype=bool)
        member[np.repeat(np.arange(n_items), np.diff(self.offsets)), self.values] = True
        return member


@dataclass(frozen=True)
class Dataset:
    """Cleaned interactions with dense ids.

    items [M] int32, times [M] int64 (seconds since 1970), offsets [B + 1] int64 over B users;
    user_ids [B] and item_table (N rows: `id`, `title`, optional `released` in seconds and `price`, and one list[str]
    column per attribute) give the original names. `signals` [M] holds extra columns per interaction (e.g. `like`).
    """

    name: str
    items: np.ndarray
    times: np.ndarray
    offsets: np.ndarray
    user_ids: pl.Series
    item_table: pl.DataFrame
    manifest: dict[str, Any] = field(default_factory=dict)
    signals: pl.DataFrame | None = None

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_items(self) -> int:
        return self.item_table.height

    @property
    def n_interactions(self) -> int:
        return len(self.items)

    @property
    def attribute_names(self) -> list[str]:
        """Item attributes that a model or a condition may use (list[str] columns of the item table)."""
        return [name for name, kind in self.item_table.schema.items() if isinstance(kind, pl.List)]

    def attribute(self, name: str) -> Attribute:
        return Attribute.from_lists(self.item_table[name])

    @property
    def fingerprint(self) -> str:
        """sha256 (16 hex digits) over interactions, ids and item attributes: two runs compare only when it agrees."""
        if "fingerprint" in self.manifest:
            return str(self.manifest["fingerprint"])
        digest = hashlib.sha256()
        for array, kind in ((self.items, np.int32), (self.times, np.int64), (self.offsets, np.int64)):
            digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        digest.update("\n".join(self.user_ids.cast(pl.String).to_list()).encode())
        digest.update(self.item_table.write_ndjson().encode())
        return digest.hexdigest()[:16]

    @property
    def unofficial(self) -> list[str]:
        """The files it was made from that are not the official ones, by checksum."""
        return [source["file"] for source in self.manifest.get("sources", []) if source.get("official") is False]

    def user_of_interaction(self) -> np.ndarray:
        """The user of every interaction, int64 [M]."""
        return np.repeat(np.arange(self.n_users), np.diff(self.offsets))

    def save(self, folder: Path) -> None:
        """Write Parquet + manifest.json into `folder`, whole or not at all."""
        with atomic_folder(folder) as temporary:
            self.write(temporary)

    def write(self, folder: Path) -> None:
        """Write the files into an existing folder (for callers that add files of their own to it)."""
        columns = {"user": self.user_of_interaction().astype(np.int32), "item": self.items, "time": self.times}
        interactions = pl.DataFrame(columns)
        if self.signals is not None:
            interactions = pl.concat([interactions, self.signals], how="horizontal")
        try:
            interactions.write_parquet(folder / "interactions.parquet")
            self.user_ids.rename("id").to_frame().write_parquet(folder / "users.parquet")
            self.item_table.write_parquet(folder / "items.parquet")
        except pl.exceptions.PolarsError as error:  # how polars reports a full disk
            raise OSError(str(error).rpartition("error: ")[2]) from error
        manifest = {**self.manifest, "name": self.name, "fingerprint": self.fingerprint, "counts": self.counts()}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    def counts(self) -> dict[str, int]:
        return {"users": self.n_users, "items": self.n_items, "interactions": self.n_interactions}

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read a prepared dataset. Raises UsageError when the folder is incomplete or damaged."""
        try:
            manifest = read_manifest(folder)
            interactions = pl.read_parquet(folder / "interactions.parquet", glob=False)
            user_ids = pl.read_parquet(folder / "users.parquet", glob=False)["id"]
            item_table = pl.read_parquet(folder / "items.parquet", glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UsageError(f"prepared data in {folder} cannot be read ({error}); {remedy(folder.name)}") from error
        users = interactions["user"].to_numpy()
        offsets = np.searchsorted(users, np.arange(len(user_ids) + 1)).astype(np.int64)
        extra = interactions.drop("user", "item", "time")
        return cls(
            name=manifest["name"],
            items=interactions["item"].to_numpy(),
            times=interactions["time"].to_numpy(),
            offsets=offsets,
            user_ids=user_ids,
            item_table=item_table,
            manifest=manifest,
            signals=extra if extra.width else None,
        )
