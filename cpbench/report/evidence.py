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
    order: pl.DataFrame | None = None
    found: list[Ranks | None] = []
    problems = []
    for group in groups:
        rows = []
        for run in group:
            try:
                table = read_ranks(run.folder, ("user", "target", "rank")).sort("user", "target")
            except CpbenchError as error:
                problems.append(str(error))
                break
            events = table.select("user", "target")
            order = events if order is None else order
            if not events.equals(order):
                problems.append(f"{run.folder / RANKS} holds other test events than the other runs")
                break
            ranks = table["rank"].to_numpy()
            if not (ranks >= 1).all():  # NaN is no rank either
                problems.append(f"{run.folder / RANKS} holds a rank below 1 or none at all")
                break
            rows.append(ranks)
        complete = order is not None and rows and len(rows) == len(group)
        found.append(Ranks(order["user"].to_numpy(), np.stack(rows)) if complete and order is not None else None)
    return found, problems
