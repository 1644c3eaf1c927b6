"""Learning curves: what validation saw, epoch by epoch, and which epoch was chosen."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from cpbench.report.evidence import Run
from cpbench.report.figures.bands import Interval, band
from cpbench.report.figures.labels import distinct, file_name, heading, width_for
from cpbench.report.figures.placement import label_ends
from cpbench.report.figures.style import Drawn, blank, colour, save, styled, title
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "NDCG@10"
MOST = 8  # lines that can still be told apart
Curve = dict[int, float]
"""METRIC of validation by epoch."""


def draw(table: ComparisonTable, folder: Path) -> Drawn | None:
    """Validation NDCG@10 against epochs, a line a row. None where no row has a curve of two points."""
    curves = {place: found for place, row in enumerate(table.rows) if (found := _curves(row))}
    shown = list(curves)[:MOST]
    if not shown:
        return None
    labels, shared = distinct([table.rows[place] for place in shown])
    caption = [f"Validation {METRIC} on {table.dataset}, epoch by epoch: mean over seeds, band: one standard "
               "deviation, thin: seeds that trained on when another had stopped. A ring is the epoch a run chose."]
    if len(curves) > MOST:
        caption.append(f"The {MOST} rows best in the test, of {len(curves)}.")
    figure = plot(table, [curves[place] for place in shown], [table.rows[place] for place in shown], labels)
    name = file_name("learning-curves", table)
    return Drawn(name, table.dataset, f"Learning curves: {heading(table)}", " ".join(filter(None, [*caption, shared])),
                 save(figure, folder, name))


@styled()
def plot(table: ComparisonTable, curves: Sequence[Sequence[tuple[Run, Curve]]], rows: Sequence[Row],
         labels: Sequence[str]) -> "Figure":
    from matplotlib.ticker import MaxNLocator

    figure = blank(width_for(labels, 20), 2.5)
    axes = figure.subplots()
    ends = []
    for number, own in enumerate(curves):
        together = sorted(set.intersection(*(set(curve) for _, curve in own)))
        values = [[curve[epoch] for _, curve in own] for epoch in together]
        means = [fmean(each) for each in values]
        bounds: list[Interval | None] = [None] * len(together)
        if len(own) > 1:
            bounds = [(mean - stdev(each), mean + stdev(each)) for mean, each in zip(means, values, strict=True)]
        band(axes, number, together, means, bounds, marked=False)
        for run, curve in own:
            beyond = [epoch for epoch in sorted(curve) if not together or epoch >= together[-1]]
            if len(beyond) > 1 or not together:
                axes.plot(beyond, [curve[epoch] for epoch in beyond], color=colour(number), linewidth=0.5)
            chosen = run.record.cost.best_epoch
            if chosen in curve:
                axes.plot([chosen], [curve[chosen]], color=colour(number), marker="o", markerfacecolor="white",
                          markeredgewidth=0.8)
        last = max((max(curve), curve[max(curve)]) for _, curve in own)
        ends.append((float(together[-1]), means[-1]) if together else last)
    axes.set(xlabel="epoch", ylabel=f"validation {METRIC}")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    title(figure, heading(table))
    label_ends(axes, [(x, y, label, colour(number))
                      for number, ((x, y), label) in enumerate(zip(ends, labels, strict=True))])
    return figure


def _curves(row: Row) -> list[tuple[Run, Curve]]:
    return [(run, curve) for run in row.runs if len(curve := read_curve(run.folder)) > 1]


def read_curve(folder: Path) -> Curve:
    """From ``curve.json``; empty where there is none that can be read."""
    try:
        document = json.loads((folder / "curve.json").read_text(encoding="utf-8"))
        found = {int(point["epoch"]): float(point["valid"][METRIC]) for point in document
                 if (point.get("valid") or {}).get(METRIC) is not None}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {epoch: value for epoch, value in found.items() if math.isfinite(value)}
