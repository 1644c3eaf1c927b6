"""The figure of an ablation, in the style of the report's: the usual protocol and the serving lag side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpbench.report.ablation import GROWTH, WINDOWS, AblationRow, lag_text
from cpbench.report.figures.bands import band
from cpbench.report.figures.style import COLUMN, PAGE, blank, colour, marker, save, styled
from cpbench.report.figures.style import title as write_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FROM_ZERO = ("tamip", "window", "branches")
FILTERED = " + hard filter"


@styled()
def draw(name: str, title: str, rows: Sequence[AblationRow], folder: Path,
         gaps: np.ndarray | None = None) -> list[Path]:
    """Write ``NAME.png``, ``NAME.svg`` and ``NAME.pdf`` into `folder`; `gaps` are the lags of the data in seconds (for
    `window`)."""
    lags = list(dict.fromkeys(row.lag for row in rows))
    figure = blank(COLUMN if len(lags) == 1 else PAGE / 2 * len(lags), 2.9)
    axes = figure.subplots(1, len(lags), squeeze=False, sharey=True)[0]
    for axis, lag in zip(axes, lags, strict=True):
        own = [row for row in rows if row.lag == lag]
        DRAWN[name](axis, own, gaps)
        axis.set_title(lag_text(lag))
    if name in FROM_ZERO:  # set any earlier, it would cut off later panels
        axes[0].set_ylim(0, axes[0].get_ylim()[1])
    if name == "cgsa":  # too many rows to leave room among the points
        figure.set_figwidth(figure.get_figwidth() + 1.9)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    else:
        axes[0].legend()
    write_title(figure, title)
    return save(figure, folder, name)


def _horizon(axis: "Axes", rows: Sequence[AblationRow], gaps: np.ndarray | None) -> None:
    for number, row in enumerate(rows):
        steps = sorted(int(name.rpartition(" ")[2]) for name in row.metrics
                       if name.startswith("HR@10/step") and GROWTH not in name)
        _band(axis, number, row, steps, [f"HR@10/step {step}" for step in steps])
    axis.set(xlabel="items ahead of the list", ylabel="HR@10")


def _window(axis: "Axes", rows: Sequence[AblationRow], gaps: np.ndarray | None) -> None:
    for number, metric in enumerate(("HR@10", "HR@20", "HR@50")):
        means = [row.metrics[metric].mean for row in rows]
        spreads = [row.metrics[metric].spread or 0.0 for row in rows]
        axis.errorbar(range(len(rows)), means, yerr=spreads, color=colour(number), marker=marker(number),
                      label=metric)
    axis.set_xticks(range(len(rows)), [row.label for row in rows])
    axis.set(xlabel="window hidden in training", ylabel="HR@K")
    if gaps is not None and len(gaps):
        seconds = {label: limit for limit, label in WINDOWS.items()}
        within = [float((gaps <= seconds[row.label]).mean()) for row in rows if row.label in seconds]
        twin = axis.twinx()
        twin.fill_between(range(len(within)), within, color="0.5", alpha=0.15, linewidth=0)
        twin.set(ylim=(0, 1), ylabel="share of interactions within (grey)")


def _branches(axis: "Axes", rows: Sequence[AblationRow], gaps: np.ndarray | None) -> None:
    _window(axis, rows, None)
    axis.set_xlabel("branches")


def _tradeoff(axis: "Axes", rows: Sequence[AblationRow], gaps: np.ndarray | None) -> None:
    """A colour and marker a method; filled as it is, open with the hard filter on top."""
    methods = list(dict.fromkeys(row.label.removesuffix(FILTERED) for row in rows))
    for row in rows:
        if {"HR@10", "CC@10"} <= set(row.metrics):
            number = methods.index(row.label.removesuffix(FILTERED))
            axis.errorbar(row.metrics["CC@10"].mean, row.metrics["HR@10"].mean,
                          xerr=row.metrics["CC@10"].spread, yerr=row.metrics["HR@10"].spread,
                          color=colour(number), marker=marker(number), linestyle="",
                          markerfacecolor="none" if row.label.endswith(FILTERED) else None, label=row.label)
    axis.set(xlabel="CC@10: share of the list that obeys", ylabel="HR@10 under the condition")


def _diversity(axis: "Axes", rows: Sequence[AblationRow], gaps: np.ndarray | None) -> None:
    levels = ("low", "middle", "high")
    for number, row in enumerate(rows):
        names = [f"diversity@10/{level}" for level in levels]
        if set(names) <= set(row.metrics):
            _band(axis, number, row, range(len(levels)), names)
    axis.set_xticks(range(len(levels)), levels)
    axis.set(xlabel="user activity", ylabel="diversity@10 (1 - Jaccard)")


def _band(axis: "Axes", number: int, row: AblationRow, places: Sequence[int], names: Sequence[str]) -> None:
    estimates = [row.metrics[name] for name in names]
    bounds = [(each.mean - (each.spread or 0.0), each.mean + (each.spread or 0.0)) for each in estimates]
    band(axis, number, places, [each.mean for each in estimates], bounds, label=row.label)


DRAWN = {"tamip": _horizon, "window": _window, "branches": _branches, "cgsa": _tradeoff, "instructions": _diversity}
