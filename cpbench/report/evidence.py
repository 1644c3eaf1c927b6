"""The ranks behind the rows of a table, brought into one order of events."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from cpbench.errors import CpbenchError
from cpbench.report.record import RunRecord

RANKS = "ranks.parquet"
COLUMNS = ("user", "target", "rank")
AT_ONCE = 200
"""Files that are read together, as one table; where one of them cannot be, these are read one by one."""

WIDER = ("Int128", "UInt128")
"""Kinds of numbers that numpy does not know."""


class Run(NamedTuple):
    """A record and the folder that holds it and its evidence."""

    record: RunRecord
    folder: Path


class Ranks(NamedTuple):
    """Of the test events of one run: user and target int [E], rank float64 [E]."""

    user: np.ndarray
    target: np.ndarray
    rank: np.ndarray


class Evidence(NamedTuple):
    """users int [E], of one test event each (or several of one user); ranks float64 [E] of every run, or None."""

    users: np.ndarray
    ranks: list[np.ndarray | None]
    problems: list[str]
    """Why a run has none, in sentences."""


def read_ranks(folder: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """ranks.parquet of the run in `folder`. Raises CpbenchError when it is missing, cannot be read, or is no table of
    ranks: whole numbers for user and target, numbers for ranks, at least one row."""
    try:
        table = pl.read_parquet(folder / RANKS, columns=list(columns) if columns else None, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CpbenchError(f"{folder / RANKS} cannot be read ({reason})") from error
    if problem := _malformed(table):
        raise CpbenchError(f"{folder / RANKS} {problem}")
    return table


def step_columns(table: pl.DataFrame) -> list[str]:
    """The ranks of one list at every step of the horizon: ``rank``, ``rank 2``, ..., as `write_run` names them."""
    return [name for name in table.columns if name == "rank" or name.startswith("rank ")]


def _malformed(table: pl.DataFrame) -> str:
    """Why `table` is no table of ranks; empty where it is one."""
    for name in ("user", "target"):
        if name not in table.columns:
            return f"lacks the column {name!r}"
        if not table.schema[name].is_integer() or str(table.schema[name]) in WIDER:
            return f"holds no whole numbers in the column {name!r} (of 64 bits at most)"
        if table[name].null_count():
            return f"holds a row without a {name}"
    for name, kind in table.schema.items():
        if name.startswith("rank") and (not (kind.is_integer() or kind.is_float()) or str(kind) in WIDER):
            return f"holds no numbers in the column {name!r}"
    return "" if table.height else "holds no test event"


def aligned(runs: Sequence[Run]) -> Evidence:
    """Ranks of the runs over the very same events, in one order; None for a run that has not got them.

    Runs under one protocol on one fingerprint share their events; where some do not, those of most runs count.
    """
    tables = _read_all([run.folder for run in runs])
    events = _events_of_most([table for table in tables if isinstance(table, Ranks)])
    found: list[np.ndarray | None] = []
    problems = []
    for run, table in zip(runs, tables, strict=True):
        ranks = _ranks_of(events, table)
        if isinstance(ranks, str):
            problems.append(ranks if isinstance(table, CpbenchError) else f"{run.folder / RANKS} {ranks}")
        found.append(None if isinstance(ranks, str) else ranks)
    return Evidence(events.user, found, problems)


def _ranks_of(events: Ranks, table: Ranks | CpbenchError) -> np.ndarray | str:
    """In the order of `events`, or why there are none."""
    if isinstance(table, CpbenchError):
        return str(table)
    ranks = table.rank
    if not _same_events(events, table):  # rarely: another order
        order, own = (np.lexsort((each.target, each.user)) for each in (events, table))
        if not _same_events(_at(events, order), _at(table, own)):
            return "holds other test events than the other runs"
        ranks = ranks[own][np.argsort(order)]
    return ranks if (ranks >= 1).all() else "holds a rank below 1 or none at all"  # NaN is no rank either


def _at(table: Ranks, places: np.ndarray) -> Ranks:
    return Ranks(*(column[places] for column in table))


def _same_events(one: Ranks, other: Ranks) -> bool:
    """In one order."""
    return np.array_equal(one.user, other.user) and np.array_equal(one.target, other.target)


def _events_of_most(tables: Sequence[Ranks]) -> Ranks:
    """The events of most `tables`, each once, in the order and with the ranks of the first table that has them."""
    # sums tell sets of events apart well enough to count them; every table is compared event by event later
    kinds = [(len(table.user), table.user.sum(), table.target.sum()) for table in tables]
    if not kinds:
        return Ranks(*np.empty((3, 0)))
    common, _ = Counter(kinds).most_common(1)[0]
    events = tables[kinds.index(common)]
    table = pl.DataFrame(events._asdict())
    return _as_arrays(table.unique(["user", "target"], keep="first", maintain_order=True))


def _read_all(folders: Sequence[Path]) -> list[Ranks | CpbenchError]:
    """Many at once, which is several times as fast; one by one where that fails, to say which and why."""
    found: list[Ranks | CpbenchError] = []
    for first in range(0, len(folders), AT_ONCE):
        some = folders[first:first + AT_ONCE]
        found += _read_as_one(some) or map(_readable, some)
    return found


def _read_as_one(folders: Sequence[Path]) -> list[Ranks]:
    """Nothing where one of them has no ranks or malformed ones, or their types differ."""
    try:
        files = pl.scan_parquet([folder / RANKS for folder in folders], include_file_paths="file", glob=False)
        table = files.select(*COLUMNS, "file").collect()
    except (OSError, pl.exceptions.PolarsError):
        return []
    sizes = table["file"].rle().struct.field("len").to_numpy()
    if len(sizes) != len(folders) or _malformed(table):
        return []
    columns = (np.split(column, np.cumsum(sizes)[:-1]) for column in _as_arrays(table))
    return list(map(Ranks, *columns))


def _readable(folder: Path) -> Ranks | CpbenchError:
    try:
        return _as_arrays(read_ranks(folder, COLUMNS))
    except CpbenchError as error:
        return error


def _as_arrays(table: pl.DataFrame) -> Ranks:
    return Ranks(*(table[name].to_numpy() for name in COLUMNS))
