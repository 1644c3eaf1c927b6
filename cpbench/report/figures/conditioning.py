"""Conditioning: what obedience to a condition costs or brings, HR@10 against the share of the list that obeys."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from cpbench.report.figures.bands import bootstrap_of, reaches
from cpbench.report.figures.labels import distinct, file_name, heading
from cpbench.report.figures.placement import label_points, laid_out
from cpbench.report.figures.style import COLUMN, GREY, Drawn, blank, colour, marker, save, styled, title
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OBEDIENCE, ACCURACY = "CC@10", "HR@10"
UNTRAINED = {"none": "not asked", "post-filter": "post-filter", "hard-filter": "hard filter"}
"""Ways of obeying that the pre-trained model has without fine-tuning."""
FILTERED = "model+filter"


def draw(table: ComparisonTable, folder: Path) -> Drawn | None:
    """HR@10 against CC@10, a point a row. None without a condition."""
    rows = [row for row in table.rows if {OBEDIENCE, ACCURACY} <= set(row.metrics)]
    if table.protocol.condition is None or not rows:
        return None
    labels, shared = distinct(rows, 30)
    figure = plot(table, rows, labels)
    caption = [f"HR@10 on {table.dataset} against CC@10, the share of the first ten that carry the "
               f"{table.protocol.condition} asked for. Vertical bars: {bootstrap_of(rows)}; horizontal: "
               "one standard deviation over seeds."]
    if any(alternative(row, FILTERED) for row in rows):
        caption.append("Hollow: the same row searched only among what matches.")
    if any(alternative(rows[0], way) for way in UNTRAINED):
        caption.append(f"Crosses: the model that {labels[0]} starts from, before fine-tuning.")
    name = file_name("conditioning", table)
    return Drawn(name, table.dataset, f"Conditioning: {heading(table)}", " ".join(filter(None, [*caption, shared])),
                 save(figure, folder, name))


def alternative(row: Row, way: str) -> tuple[float, float] | None:
    """(CC@10, HR@10) of the row's runs had they obeyed in another `way`, mean over seeds; of the last stage that
    knows it."""
    found = []
    for run in row.runs:
        stages = [stage.metrics[way] for stage in run.record.stages if way in stage.metrics]
        if way in UNTRAINED:
            stages = stages[:1]
        if stages:
            pair = stages[-1].get(OBEDIENCE), stages[-1].get(ACCURACY)
            if pair[0] is not None and pair[1] is not None:
                found.append((pair[0], pair[1]))
    if not found or len(found) < len(row.runs):
        return None
    return fmean(cc for cc, _ in found), fmean(hr for _, hr in found)


@styled()
def plot(table: ComparisonTable, rows: Sequence[Row], labels: Sequence[str]) -> "Figure":
    figure = blank(COLUMN, 3.0)
    axes = figure.subplots()
    points, segments = [], []
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        cc, hr = row.metrics[OBEDIENCE], row.metrics[ACCURACY]
        filtered = alternative(row, FILTERED)
        if filtered is not None:
            axes.plot([cc.mean, filtered[0]], [hr.mean, filtered[1]], color=colour(number), linewidth=0.5)
            axes.plot(*filtered, color=colour(number), marker=marker(number), markerfacecolor="white",
                      markeredgewidth=0.8)
            segments.append(((cc.mean, hr.mean), filtered))
        low, high = hr.interval or (hr.mean, hr.mean)
        axes.errorbar(cc.mean, hr.mean, xerr=cc.spread, yerr=reaches(hr), color=colour(number),
                      marker=marker(number), linestyle="", elinewidth=0.7)
        segments.append(((cc.mean, low), (cc.mean, high)))
        points.append((cc.mean, hr.mean, label, colour(number)))
    for way, text in UNTRAINED.items():
        found = alternative(rows[0], way)
        if found is not None:
            axes.plot(*found, color=GREY, marker="x", linestyle="")
            points.append((*found, text, GREY))
    axes.set(xlabel="CC@10: share of the list that obeys", ylabel="HR@10 under the condition")
    title(figure, heading(table))
    axes.margins(0.1)
    laid_out(figure)
    label_points(axes, points, segments)
    return figure
