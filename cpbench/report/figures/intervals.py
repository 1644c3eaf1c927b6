"""Intervals: every row of a table with the uncertainty of its mean, and what was published elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpbench.report.figures.labels import distinct, file_name, heading
from cpbench.report.figures.style import COLOURS, COLUMN, GREY, SMALL, Drawn, blank, save, styled
from cpbench.report.significance import mark
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 30
METRICS = ("NDCG@10", "HR@10")
"""The first that the table has."""


def draw(table: ComparisonTable, folder: Path) -> Drawn | None:
    """A line a row, the best on top. None where no row has the metric."""
    metric = next((name for name in METRICS if any(name in row.metrics for row in table.rows)), None)
    if metric is None:
        return None
    ordered = sorted((row for row in table.rows if metric in row.metrics), key=lambda row: -row.mean(metric))
    rows = ordered[:MOST]
    labels, shared = distinct(rows, 30)
    caption = [f"{metric} on {table.dataset}, {table.protocol.split}. Bars: 95 % bootstrap over seeds and users."]
    if len(rows) < len(ordered):
        caption.append(f"The best {MOST} of {len(ordered)} rows.")
    if not all(row.metrics[metric].interval for row in rows):
        caption.append("Without a bar: no ranks to say how sure it is.")
    if any(mark(row.differences.get(metric)) for row in rows):
        caption.append(f"† differs from {table.reference} (dashed), ≈ is not told apart from it.")
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
    uses = [" + ".join(["ids", *row.information]) for row in rows]
    told = uses if len(set(uses)) > 1 else [""] * len(rows)  # more information is not a better model
    height = 0.30 if any(told) else 0.19
    figure = blank(COLUMN, 0.85 + height * len(rows))
    axes = figure.subplots()
    for place, (row, label, information) in enumerate(zip(rows, labels, told, strict=True)):
        estimate, is_reference = row.metrics[metric], row.label == table.reference
        colour = "black" if is_reference else COLOURS[0]
        for value in values(row, metric):
            axes.plot([value], [place], marker="D", color=COLOURS[1], markerfacecolor="white", markersize=4,
                      markeredgewidth=0.9, linestyle="", zorder=3)
        if estimate.interval is not None:
            axes.plot(estimate.interval, [place, place], color=colour, linewidth=1.8, alpha=0.55, solid_capstyle="butt")
        axes.plot([estimate.mean], [place], marker="s" if is_reference else "o", color=colour, linestyle="",
                  markersize=4.5, zorder=4)
        axes.annotate(label, (0, place), xycoords=("axes fraction", "data"), xytext=(-5, 1 if information else 0),
                      textcoords="offset points", ha="right", va="bottom" if information else "center",
                      annotation_clip=False)
        if information:
            axes.annotate(information, (0, place), xycoords=("axes fraction", "data"), xytext=(-5, 0),
                          textcoords="offset points", ha="right", va="top", color=GREY, fontsize=SMALL,
                          annotation_clip=False)
        text = f"{number(estimate.mean)} {mark(row.differences.get(metric))}"
        axes.annotate(text.strip(), (1, place), xycoords=("axes fraction", "data"), xytext=(5, 0),
                      textcoords="offset points", va="center", annotation_clip=False)
    base = next((row for row in rows if row.label == table.reference), None)
    if base is not None and len(rows) > 1:
        axes.axvline(base.mean(metric), color=GREY, linewidth=0.7, linestyle=(0, (3, 2)), zorder=0)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[], title=heading(table))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    notes = [f"{metric}, 95 % interval" + ("   ◇ published" if any(values(row, metric) for row in rows) else "")]
    if any(mark(row.differences.get(metric)) for row in rows):
        notes.append("† differs from the dashed line   ≈ not told apart")
    axes.set_xlabel("\n".join(notes))
    return figure
