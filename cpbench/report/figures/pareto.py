"""Accuracy against cost, and the front of rows that nothing cheaper beats."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cpbench.report.figures.bands import bootstrap_of, reaches
from cpbench.report.figures.labels import distinct, file_name, heading, width_for
from cpbench.report.figures.placement import Segment, crowded, label_points, laid_out
from cpbench.report.figures.style import FAINT, Drawn, blank, colour, marker, save, styled, title
from cpbench.report.tables import PROCESSOR, ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure

METRIC = "NDCG@10"
MOST = 40
"""More points are never all labelled: there is no room, and looking for it takes time that grows with their square."""


class CostAxis(NamedTuple):
    name: str
    of: Callable[[Row], float | None]
    """Mean over seeds; ranking is that of the whole catalogue, with the metrics."""
    least: float
    """What is less is drawn here: a logarithm knows no zero, and clocks no microseconds."""
    is_time: bool = True


COSTS = (CostAxis("training, seconds", attrgetter("fit_seconds"), 0.01),
         CostAxis("ranking, milliseconds a user", attrgetter("milliseconds_a_user"), 0.001),
         CostAxis("learned parameters", attrgetter("parameters"), 1.0, is_time=False))


def draw(table: ComparisonTable, folder: Path) -> Drawn | None:
    """NDCG@10 against each cost. None where there are no two rows to compare."""
    measured = [row for row in table.rows if METRIC in row.metrics] if METRIC in table.columns else []
    rows = [row for row in measured if row.timed]
    if len(rows) < 2:
        return None
    labels, shared = distinct(rows)
    machines = {(run.record.machine.cpu, run.record.machine.threads, run.record.machine.device)
                for row in rows for run in row.runs}
    where = "one kind of machine" if len(machines) <= 1 else f"{len(machines)} kinds of machine (compare with care)"
    caption = [f"{METRIC} on {table.dataset} against what it costs, measured on {where}. Grey: the Pareto front, the "
               f"rows that nothing cheaper reaches. Bars: {bootstrap_of(rows)}. Costs below "
               f"{', '.join(f'{cost.least:g}' for cost in COSTS)} are drawn there. Where names have no room for all, "
               "only the front has them."]
    if elsewhere := [label for row, label in zip(rows, labels, strict=True) if row.device != _clock(rows)]:
        caption.append(f"Times are of a processor: {', '.join(elsewhere)} ran on a GPU only and have none here.")
    if unknown := [row.model for row in measured if not row.timed]:
        caption.append(f"Not here, as nobody knows what they cost: {', '.join(unknown)}.")
    name = file_name("pareto", table)
    return Drawn(name, table.dataset, f"Accuracy against cost: {heading(table)}",
                 " ".join(filter(None, [*caption, shared])), save(plot(table, rows, labels), folder, name))


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the (cost, value) that no other beats at the same or less cost, by cost."""
    found: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not found or points[place][1] > points[found[-1]][1]:
            found.append(place)
    return found


@styled()
def plot(table: ComparisonTable, rows: Sequence[Row], labels: Sequence[str]) -> "Figure":
    figure = blank(width_for(labels, 26), 5.6)
    title(figure, heading(table))
    panels = figure.subplots(len(COSTS), 1)
    drawn = []
    for axes, cost in zip(panels, COSTS, strict=True):
        points = _points(rows, cost)
        named = list(points) if len(points) <= MOST else _best(points)
        drawn.append({place: _bars(axes, rows, points, [place], color=colour(place), marker=marker(place))
                      for place in named})
        if len(named) < len(points):
            _crowd(axes, rows, points)
        if points:
            steps = [points[place] for place in _best(points)]
            axes.plot([x for x, _ in steps], [y for _, y in steps], color=FAINT, linewidth=0.9, zorder=0,
                      drawstyle="steps-post")
            _logarithmic(axes, [x for x, _ in points.values()])
        axes.set(xlabel=cost.name, ylabel=METRIC)
    laid_out(figure)
    for axes, cost, marks in zip(panels, COSTS, drawn, strict=True):
        points = _points(rows, cost)
        if not _labelled(axes, rows, labels, points, list(marks)):
            best = _best(points)
            for place in set(marks) - set(best):
                marks[place].remove()
            _crowd(axes, rows, points)
            _labelled(axes, rows, labels, points, best)
    return figure


def _bars(axes: "Axes", rows: Sequence[Row], points: dict[int, tuple[float, float]], places: Sequence[int],
          **style: Any) -> "ErrorbarContainer":
    """The points at `places`, drawn as one."""
    x, y = zip(*(points[place] for place in places), strict=True)
    unknown = [[math.nan], [math.nan]]  # no bar
    reach = [reaches(rows[place].metrics[METRIC]) or unknown for place in places]
    return axes.errorbar(x, y, yerr=np.concatenate(reach, axis=1), linestyle="", elinewidth=0.7, **style)


def _crowd(axes: "Axes", rows: Sequence[Row], points: dict[int, tuple[float, float]]) -> None:
    """Those behind the front, alike and without names."""
    behind = sorted(set(points) - set(_best(points)))
    if behind:
        _bars(axes, rows, points, behind, color=FAINT, marker="o", zorder=1)


def _labelled(axes: "Axes", rows: Sequence[Row], labels: Sequence[str], points: dict[int, tuple[float, float]],
              named: Sequence[int]) -> bool:
    """Label the points `named`; where they are all and there is no room for so many, leave all without and say so."""
    segments = _segments(rows, points)
    texts = label_points(axes, [(*points[place], labels[place], colour(place)) for place in named], segments)
    if len(named) == len(points) and crowded(axes, texts, segments):
        for text in list(axes.texts):
            text.remove()
        return False
    return True


def _points(rows: Sequence[Row], cost: CostAxis) -> dict[int, tuple[float, float]]:
    """(cost, METRIC) of every row that has both, by its place; of times, those that one kind of device took."""
    clock = _clock(rows)
    return {place: (max(value, cost.least), row.mean(METRIC)) for place, row in enumerate(rows)
            if (value := cost.of(row)) is not None and (row.device == clock or not cost.is_time)}


def _clock(rows: Sequence[Row]) -> str | None:
    """The kind of device whose times are shown: a processor's, if any row has them."""
    return PROCESSOR if any(row.device == PROCESSOR for row in rows) else rows[0].device


def _best(points: dict[int, tuple[float, float]]) -> list[int]:
    """The keys of the points on the front."""
    places = list(points)
    return [places[place] for place in front(list(points.values()))]


def _segments(rows: Sequence[Row], points: dict[int, tuple[float, float]]) -> list[Segment]:
    """The front and the bars, which labels should not cover."""
    corners = [points[place] for place in _best(points)]
    found: list[Segment] = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        found += [((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))]
    for place, (x, y) in points.items():
        (down,), (up,) = reaches(rows[place].metrics[METRIC]) or ([0.0], [0.0])
        found.append(((x, y - down), (x, y + up)))
    return found


def _logarithmic(axes: "Axes", costs: Sequence[float]) -> None:
    """As many ticks, at plain figures, as there is room for."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    least, most = min(costs) / 1.5, max(costs) * 1.5
    axes.set_xlim(least, most)
    axes.xaxis.set_major_locator(FixedLocator(ticks(least, most)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def ticks(least: float, most: float) -> list[float]:
    """Powers of ten within, and the fewer decades there are, the more multiples of them."""
    decades = math.log10(most / least)
    steps = (1, 1.5, 2, 3, 4, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 2 else (1,)
    every = max(1, round(decades / 8))
    return [value for power_of_ten in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
            for step in steps if power_of_ten % every == 0 and least <= (value := step * 10.0**power_of_ten) <= most]


def power(value: float) -> str:
    """``0.01``, ``100``, ``10 k``, ``1 M``."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"
