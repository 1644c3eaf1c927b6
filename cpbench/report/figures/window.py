"""Window: how much recent history Climber-Pilot should be denied in training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpbench.report.ablation import WINDOWS
from cpbench.report.figures.bands import band, hit_intervals
from cpbench.report.figures.labels import file_name, heading
from cpbench.report.figures.placement import label_ends
from cpbench.report.figures.style import COLUMN, Drawn, blank, colour, save, styled, title
from cpbench.report.record import learned_since
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEY = "window"
CUTOFFS = (10, 20, 50)


def draw(table: ComparisonTable, folder: Path) -> Drawn | None:
    """HR@10, 20 and 50 against the window. None where no two rows differ in it alone."""
    rows = varied(table.rows)
    if not rows:
        return None
    figure, uncertainty = plot(table, rows)
    name = file_name("window", table)
    return Drawn(name, table.dataset, f"Window: {heading(table)}",
                 f"HR@K on {table.dataset} against the time before each target that training hides; the rows differ in "
                 f"nothing else. Band: {uncertainty}.", save(figure, folder, name))


def varied(rows: Sequence[Row]) -> list[Row]:
    """The largest group of rows that differ in the window alone, by window; empty where there are no two."""
    groups: dict[str, dict[int, Row]] = {}
    windowed = [(row, row.runs[0].record) for row in rows
                if row.runs and isinstance(row.runs[0].record.config.get(KEY), int)]
    ignored = {KEY} | learned_since([record for _, record in windowed])
    for row, record in windowed:
        others = {key: value for key, value in record.config.items() if key not in ignored}
        key = json.dumps([record.model, record.recipe, record.obeys, others], sort_keys=True)
        groups.setdefault(key, {})[record.config[KEY]] = row
    largest = max(groups.values(), key=len, default={})
    return [largest[window] for window in sorted(largest)] if len(largest) > 1 else []


@styled()
def plot(table: ComparisonTable, rows: Sequence[Row]) -> tuple["Figure", str]:
    """The figure, and what its bands are."""
    cutoffs = [k for k in CUTOFFS if all(f"HR@{k}" in row.metrics for row in rows)]
    intervals, uncertainty = hit_intervals(rows, {f"HR@{k}": ("rank", k) for k in cutoffs})
    figure = blank(COLUMN, 2.4)
    axes = figure.subplots()
    places = [float(place) for place in range(len(rows))]
    for number, k in enumerate(cutoffs):
        metric = f"HR@{k}"
        band(axes, number, places, [row.mean(metric) for row in rows], [own.get(metric) for own in intervals])
    axes.set_xticks(places, [_text(row.runs[0].record.config[KEY]) for row in rows])
    axes.set(xlabel="window hidden in training", ylabel="HR@K")
    title(figure, heading(table))
    axes.set_ylim(bottom=0)
    label_ends(axes, [(places[-1], rows[-1].mean(f"HR@{k}"), f"HR@{k}", colour(number))
                      for number, k in enumerate(cutoffs)])
    return figure, uncertainty


def _text(window: int) -> str:
    return WINDOWS.get(window, f"{window:,} s")
