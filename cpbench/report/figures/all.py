"""All figures of a report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cpbench.report.figures import (
    conditioning,
    critical_difference,
    horizon,
    intervals,
    learning_curves,
    pareto,
    window,
)
from cpbench.report.figures.style import Drawn
from cpbench.report.tables import ComparisonTable

EACH = (intervals, pareto, learning_curves, window, conditioning)
"""Figures of one table."""


def draw_all(tables: Sequence[ComparisonTable], folder: Path) -> list[Drawn]:
    """Draw into `folder` whatever `tables` have something to show for, each figure under a name of its own: the ranks
    over all tables first, then by dataset.

    Where a dataset comes in several versions, its figures are named and titled by their fingerprints, too.
    """
    prints: dict[str, set[str]] = {}
    for table in tables:
        prints.setdefault(table.dataset, set()).add(table.fingerprint)
    drawn = [critical_difference.draw(tables, folder)]
    by_lag: dict[tuple[str, ...], list[ComparisonTable]] = {}
    for table in tables:
        named = table
        if len(prints[table.dataset]) > 1:
            named = replace(table, dataset=f"{table.dataset}-{table.fingerprint[:8]}")
        without_lag = table.protocol.model_copy(update={"serving_lag": 0}).model_dump_json()
        by_lag.setdefault((table.dataset, table.fingerprint, without_lag, table.recipes), []).append(named)
    for (dataset, *_), group in by_lag.items():
        own = [horizon.draw(group, folder), *(each.draw(table, folder) for table in group for each in EACH)]
        drawn += [each._replace(dataset=dataset) for each in own if each is not None]
    found = [each for each in drawn if each is not None]
    assert len({each.name for each in found}) == len(found), "two figures have one name"
    return found
