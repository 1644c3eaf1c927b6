"""The ranks behind the rows of a table, brought into one order of events."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from cpbench.errors import CpbenchError
from cpbench.report.record import RunRecord

RANKS = "ranks.parquet"


class Run(NamedTuple):
    """A record and the folder that holds it and its evidence."""

    record: RunRecord
    folder: Path


class Ranks(NamedTuple):
    """users int [E], of one test event each (or several of one user); rank float64 [S, E] by run."""

    users: np.ndarray
    ranks: np.ndarray


def read_ranks(folder: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """ranks.parquet of the run in `folder`. Raises CpbenchError when it is missing or cannot be read."""
    try:
        return pl.read_parquet(folder / RANKS, columns=list(columns) if columns else None)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CpbenchError(f"{folder / RANKS} cannot be read ({reason})") from error


def aligned(groups: Sequence[Sequence[Run]]) -> tuple[list[Ranks | None], list[str]]:
    """Ranks of every group of runs over the very same events, in one order; None for a group that has not got them,
    and a sentence for each reason.

    The events are those of the first run whose ranks can be read: runs under one protocol on one fingerprint share
    them.
    """
    tables = iter(_read_all([run.folder for group in groups for run in group]))
    events: pl.DataFrame | None = None
    found: list[Ranks | None] = []
    problems = []
    for group in groups:
        ranks: list[np.ndarray] = []
        for run, table in [(run, next(tables)) for run in group]:
            if isinstance(table, CpbenchError):
                problems.append(str(table))
                continue
            events = table.select("user", "target") if events is None else events
            same_size = len(table) == len(events)
            if not table.select("user", "target").equals(events):  # rarely: another order
                table = events.join(table, on=["user", "target"], how="left", maintain_order="left")
            values = table["rank"].to_numpy()
            if not same_size or table["rank"].null_count():
                problems.append(f"{run.folder / RANKS} holds other test events than the other runs")
            elif not (values >= 1).all():  # NaN is no rank either
                problems.append(f"{run.folder / RANKS} holds a rank below 1 or none at all")
            else:
                ranks.append(values)
        complete = events is not None and group and len(ranks) == len(group)
        found.append(Ranks(events["user"].to_numpy(), np.stack(ranks)) if complete and events is not None else None)
    return found, problems


def _read_all(folders: Sequence[Path]) -> list[pl.DataFrame | CpbenchError]:
    """All at once, which is several times as fast; one by one where that fails, to say which."""
    columns = ("user", "target", "rank")
    try:
        return list(pl.collect_all([pl.scan_parquet(folder / RANKS).select(columns) for folder in folders]))
    except (OSError, pl.exceptions.PolarsError):
        tables: list[pl.DataFrame | CpbenchError] = []
        for folder in folders:
            try:
                tables.append(read_ranks(folder, columns))
            except CpbenchError as error:
                tables.append(error)
        return tables
