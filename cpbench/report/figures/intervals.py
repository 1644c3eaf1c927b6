"""Intervals: every row of a table with the uncertainty of its mean, and what was published elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpbench.report.figures.bands import bootstrap_of, rounded
from cpbench.report.figures.labels import distinct, file_name, heading, width_for
from cpbench.report.figures.style import GREY, SMALL, Drawn, blank, colour, save, styled, title
from cpbench.report.grid import information
from cpbench.report.significance import mark
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 30
METRICS = ("NDCG@10", "HR@10")
"""The first that the table has."""
MEANING = {"†": "differs from ■", "≈": "not told apart from ■"}


def draw(table: ComparisonTable, folder: Path) -> Drawn | None:
    """A line a row, the best on top. None where no row has the metric."""
    metric = next((name for name in METRICS if name in table.columns), None)
    if metric is None or not any(metric in row.metrics for row in table.rows):
        return None
    ordered = sorted((row for row in table.rows if metric in row.metrics), key=lambda row: -row.mean(metric))
    rows = ordered[:MOST]
    labels, shared = distinct(rows)
    caption = [f"{metric} on {table.dataset}, {table.protocol.split}. Bars: {bootstrap_of(rows)}."]
    if len(rows) < len(ordered):
        caption.append(f"The best {MOST} of {len(ordered)} rows.")
    if not all(row.metrics[metric].interval for row in rows):
        caption.append("Without a bar: no ranks to say how sure it is.")
    marks = {mark(row.differences.get(metric)).strip("()") for row in rows}
    if marks & set(MEANING):
        caption.append(f"■ is {table.reference}: "
                       f"{', '.join(f'{each} {text}' for each, text in MEANING.items() if each in marks)}.")
    if any(mark(row.differences.get(metric)).startswith("(") for row in rows):
        caption.append("( ): a single run, so users only.")
    if any(values(row, metric) for row in rows):
        caption.append("Hollow: published elsewhere.")
    if table.ceiling is not None and metric in table.ceiling.metrics:
        caption.append(f"The best possible ranking attains {number(table.ceiling.mean(metric))}.")
    name = file_name("intervals", table)
    return Drawn(name, table.dataset, f"{metric}: {heading(table)}", " ".join(filter(None, [*caption, shared])),
                 save(plot(table, rows, labels, metric), folder, name))


def values(row: Row, metric: str) -> list[float]:
    """The published ones."""
    return [entry.metrics[metric] for entry in row.published if metric in entry.metrics]


def number(value: float) -> str:
    """``.0604``"""
    return f"{value:.4f}".removeprefix("0")


@styled()
def plot(table: ComparisonTable, rows: Sequence[Row], labels: Sequence[str], metric: str) -> "Figure":
    uses = [information(row) for row in rows]
    told = uses if len(set(uses)) > 1 else [""] * len(rows)  # more information is not a better model
    figure = blank(width_for(labels, 26), 0.8 + (0.28 if any(told) else 0.19) * len(rows))
    axes = figure.subplots()
    marks = {mark(row.differences.get(metric)).strip("()") for row in rows}
    for place, (row, label, seen) in enumerate(zip(rows, labels, told, strict=True)):
        estimate, is_reference = row.metrics[metric], row.label == table.reference
        ours = "black" if is_reference else colour(0)
        if estimate.interval is not None:
            axes.plot([rounded(end) for end in estimate.interval], [place, place], color=ours, linewidth=3, alpha=0.4,
                      solid_capstyle="butt")
        axes.plot([estimate.mean], [place], marker="s" if is_reference else "o", color=ours, linestyle="",
                  markersize=3.5)
        theirs = values(row, metric)
        axes.plot(theirs, [place] * len(theirs), marker="D", color=colour(1), markerfacecolor="none", markersize=6.5,
                  markeredgewidth=0.8, linestyle="")
        _beside(axes, 0, place, label, "bottom" if seen else "center_baseline")
        _beside(axes, 0, place, seen, "top", color=GREY, fontsize=SMALL)
        _beside(axes, 1, place, f"{number(estimate.mean)} {mark(row.differences.get(metric))}".strip(),
                "center_baseline")
        if is_reference and len(rows) > 1:
            axes.axvline(estimate.mean, color=GREY, linewidth=0.7, linestyle=(0, (3, 2)), zorder=0)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes.margins(x=0.06)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    title(figure, heading(table))
    notes = [f"{metric}, 95 % interval" + ("   ◇ published" if any(values(row, metric) for row in rows) else "")]
    explained = [f"{each} {text}" for each, text in MEANING.items() if each in marks]
    figure.supxlabel("\n".join([*notes, *(["   ".join(explained)] if explained else [])]))
    return figure


def _beside(axes: "Axes", side: int, place: int, text: str, vertical: str, **style: Any) -> None:
    """Write `text` on the left (0) or right (1) of the axes, in the row of that place."""
    axes.annotate(text, (side, place), xycoords=("axes fraction", "data"), xytext=(5 if side else -5, 0),
                  textcoords="offset points", ha="left" if side else "right", va=vertical, annotation_clip=False,
                  **style)
