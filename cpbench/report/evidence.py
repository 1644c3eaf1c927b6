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
AT_ONCE = 200
"""Files that are read together, as one table; where one of them cannot be, these are read one by one."""

WIDER = ("Int128", "UInt128")
"""Kinds of numbers that numpy does not know."""


class Run(NamedTuple):
    """A record and the folder that holds it and its evidence."""

    record: RunRecord
    folder: Path


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
    for name, kind in table.schema.items():
        if name.startswith("rank") and (not (kind.is_integer() or kind.is_float()) or str(kind) in WIDER):
            return f"holds no numbers in the column {name!r}"
    return "" if table.height else "holds no test event"


def aligned(runs: Sequence[Run]) -> Evidence:
    """Ranks of the runs over the very same events, in one order; None for a run that has not got them.

    Runs under one protocol on one fingerprint share their events; where some do not, those of most runs count.
    """
    tables = _read_all([run.folder for run in runs])
    events = _events_of_most([table for table in tables if isinstance(table, pl.DataFrame)])
    found: list[np.ndarray | None] = []
    problems = []
    for run, table in zip(runs, tables, strict=True):
        ranks = _ranks_of(events, table)
        if isinstance(ranks, str):
            problems.append(ranks if isinstance(table, CpbenchError) else f"{run.folder / RANKS} {ranks}")
        found.append(None if isinstance(ranks, str) else ranks)
    return Evidence(events["user"].to_numpy(), found, problems)


def _ranks_of(events: pl.DataFrame, table: pl.DataFrame | CpbenchError) -> np.ndarray | str:
    """In the order of `events`, or why there are none."""
    if isinstance(table, CpbenchError):
        return str(table)
    same_size = len(table) == len(events)
    if not all(table[name].equals(events[name]) for name in events.columns):  # rarely: another order
        table = events.join(table, on=["user", "target"], how="left", maintain_order="left")
    if not same_size or len(table) != len(events) or table["rank"].null_count():
        return "holds other test events than the other runs"
    ranks = table["rank"].to_numpy()
    return ranks if (ranks >= 1).all() else "holds a rank below 1 or none at all"  # NaN is no rank either


def _events_of_most(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The events (user, target) of most `tables`, each once, in the order of the first table that has them."""
    # sums tell sets of events apart well enough to count them; every table is compared event by event later
    kinds = [(len(table), table["user"].sum(), table["target"].sum()) for table in tables]
    common = Counter(kinds).most_common(1)
    events = tables[kinds.index(common[0][0])] if common else pl.DataFrame({"user": [], "target": []})
    return events.select("user", "target").unique(maintain_order=True)


def _read_all(folders: Sequence[Path]) -> list[pl.DataFrame | CpbenchError]:
    """Many at once, which is several times as fast; one by one where that fails, to say which and why."""
    columns = ("user", "target", "rank")
    found: list[pl.DataFrame | CpbenchError] = []
    for first in range(0, len(folders), AT_ONCE):
        some = folders[first:first + AT_ONCE]
        found += _read_as_one(some, columns) or [_readable(folder, columns) for folder in some]
    return found


def _read_as_one(folders: Sequence[Path], columns: Sequence[str]) -> list[pl.DataFrame]:
    """Nothing where one of them has no ranks or malformed ones, or their types differ."""
    try:
        files = pl.scan_parquet([folder / RANKS for folder in folders], include_file_paths="file", glob=False)
        table = files.select(*columns, "file").collect()
    except (OSError, pl.exceptions.PolarsError):
        return []
    sizes = table["file"].rle().struct.field("len").to_list()
    table = table.drop("file")
    if len(sizes) != len(folders) or _malformed(table):
        return []
    ends = np.cumsum(sizes).tolist()
    return [table[end - size:end] for size, end in zip(sizes, ends, strict=True)]


def _readable(folder: Path, columns: Sequence[str]) -> pl.DataFrame | CpbenchError:
    try:
        return read_ranks(folder, columns)
    except CpbenchError as error:
        return error
