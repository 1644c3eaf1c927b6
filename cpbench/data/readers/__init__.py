"""Readers: official files -> interactions and items, by the name that a card gives.

A reader has two halves, because item attributes are worth reading only for items that the filters keep:
`interactions(files)` gives the columns user, item (String) and time (Int64, seconds since 1970) in file order, and
`fraction` (Int64) where the source orders interactions inside a second;
`items(files, kept)` gives `id`, `title` and one list[str] column per attribute, at most one row per kept item.
`files` maps the roles of the card's files to paths. Both raise UsageError with file, line number and reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cpbench.data.readers import amazon, lastfm, movielens

Files = Mapping[str, Path]


@dataclass(frozen=True)
class Reader:
    interactions: Callable[[Files], pl.DataFrame]
    items: Callable[[Files, pl.Series], pl.DataFrame]


READERS = {
    "movielens-1m": Reader(movielens.interactions_1m, movielens.items_1m),
    "movielens-100k": Reader(movielens.interactions_100k, movielens.items_100k),
    "amazon-2014": Reader(amazon.interactions, amazon.items),
    "lastfm-hetrec": Reader(lastfm.interactions, lastfm.items),
}
