"""Raw interactions -> Dataset: filters, one order, dense ids, and counts that must be right.

Order: stable sort by (user, time, row of the file); ties in time keep the order of the file, without which a quarter
of the test targets of every public dataset would depend on the sorting algorithm. Where the file tells fractions of a
second, they count as time here (column `fraction`), though a Dataset's times are whole seconds.
Ids: users by first appearance in the file (after the filters), items by first appearance in the sorted interactions.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cpbench import __version__
from cpbench.data.card import Card, Counts, Filters
from cpbench.data.dataset import Dataset
from cpbench.data.readers import READERS
from cpbench.errors import UsageError, unknown

Items = Callable[[pl.Series], pl.DataFrame]
"""The ids of the kept items -> `id`, `title` and list[str] attribute columns, for those it knows."""


def prepare(card: Card, files: Mapping[str, Path]) -> Dataset:
    """Read and prepare the files of a card (role -> path).

    Raises UsageError for a malformed line, and for counts other than the card's, naming expected and found.
    """
    if card.reader not in READERS:
        raise unknown("reader", card.reader, READERS)
    reader = READERS[card.reader]
    raw = reader.interactions(files)
    _check(card.name, "the files hold", card.raw, _count(raw))
    dataset = assemble(card.name, raw, lambda kept: reader.items(files, kept), card.filters, {
        "title": card.title,
        "licence": card.licence,
        "homepage": card.homepage,
        "citation": card.citation,
        "granularity": card.granularity,
        "exclude_seen": card.exclude_seen,
    })
    _check(card.name, "after the filters there are", card.expected, Counts(**dataset.counts()))
    return dataset


def assemble(name: str, raw: pl.DataFrame, items: Items, filters: Filters, facts: Mapping[str, Any]) -> Dataset:
    """Filter, sort and number the interactions `raw` (columns user, item, time, perhaps fraction; in file order).

    `facts` go into the manifest beside the filters, the raw counts and what was noticed on the way.
    Raises UsageError when nothing is left.
    """
    kept = apply_filters(raw, filters)
    if kept.is_empty():
        raise UsageError(f"dataset {name!r}: no interaction is left after the filters ({_count(raw)} before)")
    user_ids = kept["user"].unique(maintain_order=True)
    users = pl.DataFrame({"user": user_ids, "user_index": np.arange(len(user_ids), dtype=np.int32)})
    # joins on the left keep its order, so rows are still those of the file and a stable sort keeps ties so
    keys = ["user_index", "time", *(["fraction"] if "fraction" in kept.columns else [])]
    ordered = kept.join(users, on="user", maintain_order="left").sort(keys, maintain_order=True)
    item_ids = ordered["item"].unique(maintain_order=True)
    index = pl.DataFrame({"item": item_ids, "item_index": np.arange(len(item_ids), dtype=np.int32)})
    ordered = ordered.join(index, on="item", how="left", maintain_order="left")
    lengths = np.bincount(ordered["user_index"].to_numpy(), minlength=len(user_ids))
    table = _item_table(item_ids, items(item_ids))
    return Dataset(
        name=name,
        items=ordered["item_index"].to_numpy(),
        times=ordered["time"].to_numpy(),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        user_ids=user_ids.rename("id"),
        item_table=table,
        manifest={
            **facts,
            "filters": filters.model_dump(),
            "raw_counts": _count(raw).model_dump(),
            "attributes": [column for column, kind in table.schema.items() if isinstance(kind, pl.List)],
            "users_with_one_interaction": int((lengths == 1).sum()),
            "cpbench": __version__,
        },
    )


def apply_filters(raw: pl.DataFrame, filters: Filters) -> pl.DataFrame:
    """Drop duplicates, then take the k-core, in file order."""
    kept = raw.unique(["user", "item"], keep="first", maintain_order=True) if filters.drop_duplicates else raw
    enough = (pl.len().over("user") >= filters.k_core) & (pl.len().over("item") >= filters.k_core)
    while filters.k_core > 1:
        before = kept.height
        kept = kept.filter(enough)
        if kept.height == before:
            break
    return kept


def _item_table(item_ids: pl.Series, known: pl.DataFrame) -> pl.DataFrame:
    """Row i describes item i; an item that `known` lacks has no title and empty attributes.

    Raises UsageError where `known` lacks a column that every table has.
    """
    if lacking := [name for name in ("id", "title") if known.schema.get(name) != pl.String]:
        raise UsageError(f"the reader's items lack the text column {' and '.join(lacking)}; they have "
                         f"{', '.join(known.columns)}")
    table = item_ids.rename("id").to_frame().join(known, on="id", how="left", maintain_order="left")
    attributes = [name for name, kind in table.schema.items() if isinstance(kind, pl.List)]
    return table.with_columns(pl.col(name).fill_null([]) for name in attributes)


def _count(raw: pl.DataFrame) -> Counts:
    return Counts(users=raw["user"].n_unique(), items=raw["item"].n_unique(), interactions=raw.height)


def _check(name: str, what: str, expected: Counts | None, found: Counts) -> None:
    if expected is not None and found != expected:
        raise UsageError(f"dataset {name!r} has wrong counts: expected {expected}; {what} {found}")
