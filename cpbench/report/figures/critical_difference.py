"""Critical difference: average ranks over many tables, and which of them are too close to tell apart.

Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006): Friedman's test asks whether the
models differ at all, Nemenyi's critical difference which pairs do.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cpbench.report.figures.labels import heading, shortened
from cpbench.report.figures.style import COLUMN, GREY, SMALL, Drawn, blank, save, styled
from cpbench.report.statistics import p_text
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "NDCG@10"
LEVEL = 0.05
LEAST = 3
"""Models, and tables: with fewer there is nothing to rank, and nothing to rank over."""
NAME = 0.17
"""Inches from name to name."""


class Ranking(NamedTuple):
    """models, best average rank first; average_ranks [k] of them; p_value of Friedman's test; Nemenyi's difference."""

    models: list[str]
    average_ranks: list[float]
    tables: list[ComparisonTable]
    p_value: float
    difference: float


def draw(tables: Sequence[ComparisonTable], folder: Path) -> Drawn | None:
    """The diagram over all tables that qualify. None where `why_not` gives a reason."""
    found = ranking(tables)
    if isinstance(found, str):
        return None
    datasets = list(dict.fromkeys(table.dataset for table in found.tables))
    verdict = (f"Friedman's test {'tells' if found.p_value < LEVEL else 'does not tell'} the models apart "
               f"({p_text(found.p_value)})")
    caption = (f"Average rank by {METRIC} over {len(found.tables)} tables ({'; '.join(map(heading, found.tables))}), "
               f"1 is best. {verdict}. Models joined by a bar are closer than Nemenyi's critical difference, "
               f"{found.difference:.2f} at 5 %.")
    if len(datasets) < len(found.tables):
        caption += " Tables of one dataset are not independent: the test proves less than it seems."
    name = "critical-difference"
    return Drawn(name, datasets[0] if len(datasets) == 1 else "", "Average ranks and critical difference", caption,
                 save(plot(found), folder, name))


def why_not(tables: Sequence[ComparisonTable]) -> str | None:
    """Why there is no diagram, as a sentence; None where there is one."""
    found = ranking(tables)
    return found if isinstance(found, str) else None


def ranking(tables: Sequence[ComparisonTable]) -> Ranking | str:
    """Average ranks of the models that tables with at least three of them share; or why there are none.

    A model is its `tuned` row with nothing set by hand; tables are those without horizon and condition. One with few
    models is left out where it would cost more figures than it has.
    """
    values = [(table, own) for table in tables if table.recipes == "tuned" and table.protocol.horizon == 1
              and table.protocol.condition is None and len(own := _values(table)) >= LEAST]
    if len(values) < LEAST:
        return (f"No critical difference diagram: it needs at least {LEAST} tables (datasets, splits, lags) of at "
                f"least {LEAST} tuned models, and there {'is' if len(values) == 1 else 'are'} {len(values)}.")
    values = _fullest(values)
    models = sorted(set.intersection(*(set(own) for _, own in values)))
    if len(models) < LEAST:
        return (f"No critical difference diagram: it needs at least {LEAST} models that are in all {len(values)} "
                f"tables, and there {'is' if len(models) == 1 else 'are'} {len(models)}.")
    from scipy import stats  # more than a second, which tables alone need not wait

    measured = np.array([[own[model] for model in models] for _, own in values])  # [N tables, k models]
    ranks = stats.rankdata(-measured, axis=1).mean(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 where all are equal everywhere
        p_value = float(stats.friedmanchisquare(*measured.T).pvalue)
    order = np.argsort(ranks, kind="stable")
    return Ranking([models[place] for place in order], [float(ranks[place]) for place in order],
                   [table for table, _ in values], 1.0 if math.isnan(p_value) else p_value,
                   critical_difference(len(models), len(values)))


def _fullest(values: list[tuple[ComparisonTable, dict[str, float]]]) -> list[tuple[ComparisonTable, dict[str, float]]]:
    """Of the tables with most models, in their order, as many as share most figures in all: models times tables."""
    def figures(least: int) -> int:
        kept = [set(own) for _, own in values if len(own) >= least]
        shared = len(set.intersection(*kept))
        return len(kept) * shared if len(kept) >= LEAST and shared >= LEAST else 0

    best = max(sorted({len(own) for _, own in values}), key=figures)
    return [(table, own) for table, own in values if len(own) >= best]


def critical_difference(k: int, n: int) -> float:
    """Nemenyi's, at LEVEL, for average ranks of k models over n tables.

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    from scipy import stats

    return float(stats.studentized_range.isf(LEVEL, k, np.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n)))


def cliques(average_ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last place of every largest group, of two or more, that lies within `difference`; ranks ascending."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(average_ranks):
        last = max(place for place, other in enumerate(average_ranks) if other - rank <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _values(table: ComparisonTable) -> dict[str, float]:
    rows: dict[str, Row] = {}
    for row in table.rows:
        plain = row.runs and all(run.record.recipe == "tuned" and not run.record.overrides for run in row.runs)
        if plain and METRIC in row.metrics and (row.model not in rows or _age(rows[row.model]) < _age(row)):
            rows[row.model] = row  # a recipe that was changed between runs makes two rows: the later one
    return {model: row.mean(METRIC) for model, row in rows.items()}


def _age(row: Row) -> str:
    return max(run.record.finished for run in row.runs)


@styled()
def plot(found: Ranking) -> "Figure":
    """An axis of ranks, the better half of the models named on its left, the others on its right. Heights in inches."""
    k = len(found.models)
    groups = cliques(found.average_ranks, found.difference)
    on_left = (k + 1) // 2
    texts = [f"{shortened(model, 20)}  {rank:.2f}" if place < on_left else f"{rank:.2f}  {shortened(model, 20)}"
             for place, (model, rank) in enumerate(zip(found.models, found.average_ranks, strict=True))]
    top, depth = 0.58, 0.12 + 0.09 * len(groups)
    height = top + depth + NAME * on_left
    figure = blank(COLUMN, height)
    figure.set_layout_engine("none")
    margins = [max(_width(figure, text) for text in side) / COLUMN + 0.04
               for side in (texts[:on_left], texts[on_left:])]
    axes = figure.add_axes((margins[0], 0.0, 1 - sum(margins), 1.0))
    axes.set(xlim=(1, k), ylim=(top - height, top))
    axes.axis("off")
    black: dict[str, Any] = {"color": "black", "linewidth": 0.8, "clip_on": False}
    axes.plot([1, k], [0, 0], **black)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, 0.05], **black)
        if k <= 9 or rank % 5 == 0 or rank == 1:
            axes.text(rank, 0.07, str(rank), ha="center", va="bottom", fontsize=SMALL)
    end = 1 + found.difference  # which may lie beyond the axis
    axes.plot([1, 1, 1, end, end, end], [0.3, 0.36, 0.33, 0.33, 0.36, 0.3], **black)
    axes.text(1, 0.38, f"critical difference {found.difference:.2f}", va="bottom", fontsize=SMALL)
    for number, (first, last) in enumerate(groups):
        axes.plot([found.average_ranks[first], found.average_ranks[last]], [-0.1 - 0.09 * number] * 2, color="black",
                  linewidth=2.5, clip_on=False)
    for place, (text, average) in enumerate(zip(texts, found.average_ranks, strict=True)):
        left = place < on_left
        y = -depth - NAME * (0.4 + (place if left else k - 1 - place))
        axes.plot([average, average, 1 if left else k], [0, y, y], color=GREY, linewidth=0.6, clip_on=False)
        axes.annotate(text, (1 if left else k, y), xytext=(-3 if left else 3, 0), textcoords="offset points",
                      ha="right" if left else "left", va="center", fontsize=SMALL, annotation_clip=False)
    return figure


def _width(figure: "Figure", text: str) -> float:
    """Of `text`, in inches."""
    written = figure.text(0, 0, text, fontsize=SMALL)
    width = written.get_window_extent().width / figure.dpi
    written.remove()
    return float(width)
