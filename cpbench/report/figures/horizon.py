"""Horizon: how one list holds up against the items one to H steps ahead, under the usual protocol and with a lag."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpbench.report.ablation import lag_text
from cpbench.report.figures.bands import Interval, band, hit_intervals
from cpbench.report.figures.labels import distinct, file_name, heading, width_for
from cpbench.report.figures.placement import label_ends
from cpbench.report.figures.style import PAGE, Drawn, blank, colour, save, styled, title
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST, PANELS = 8, 3


def draw(tables: Sequence[ComparisonTable], folder: Path) -> Drawn | None:
    """HR@10 at every step, a panel a lag; `tables` differ in their lag alone. None without a horizon."""
    tables = sorted((table for table in tables if table.protocol.horizon > 1 and any(map(_steps, table.rows))),
                    key=lambda table: table.protocol.serving_lag)[:PANELS]
    if not tables:
        return None
    rows = list({row.label: row for table in tables for row in table.rows if _steps(row)}.values())
    labels, shared = distinct(rows[:MOST], 32)
    figure, uncertainty = plot(tables, dict(zip([row.label for row in rows], labels, strict=False)))
    first = tables[0]
    caption = [f"HR@10 on {first.dataset} of one list against the items that follow, one to {first.protocol.horizon} "
               f"steps ahead. Band: {uncertainty}."]
    if len(rows) > MOST:
        caption.append(f"The first {MOST} of {len(rows)} rows.")
    name = file_name("horizon", first, lag=False)
    return Drawn(name, first.dataset, f"Horizon: {heading(first, lag=False)}",
                 " ".join(filter(None, [*caption, shared])), save(figure, folder, name))


@styled()
def plot(tables: Sequence[ComparisonTable], labels: dict[str, str]) -> tuple["Figure", str]:
    """The figure, and what its bands are. `labels` names the rows to draw by their full label."""
    figure = blank(PAGE if len(tables) > 1 else width_for(list(labels.values()), 16), 2.4)
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    numbers = {label: number for number, label in enumerate(labels)}
    kinds = []
    for place, (axes, table) in enumerate(zip(panels, tables, strict=True)):
        rows = [row for row in table.rows if row.label in labels and _steps(row)]
        steps = sorted({step for row in rows for step in _steps(row)})
        wanted = {_name(step): ("rank" if step == 1 else f"rank {step}", 10) for step in steps}
        intervals, kind = hit_intervals(rows, wanted)
        kinds.append(kind)
        for row, own in zip(rows, intervals, strict=True):
            bounds: list[Interval | None] = [own.get(_name(step)) for step in _steps(row)]
            band(axes, numbers[row.label], _steps(row), [row.mean(_name(step)) for step in _steps(row)], bounds)
        axes.set(xlabel="items ahead of the list", xticks=steps)
        if len(tables) > 1:
            axes.set_title(lag_text(table.protocol.serving_lag))
        if place == 0:
            axes.set_ylabel("HR@10")
    panels[0].set_ylim(bottom=0)
    first = tables[0]
    title(figure, heading(first, lag=len(tables) == 1))
    last = {row.label: place for place, table in enumerate(tables) for row in table.rows}
    for place, (axes, table) in enumerate(zip(panels, tables, strict=True)):
        own_rows = [row for row in table.rows if row.label in labels and last[row.label] == place and _steps(row)]
        label_ends(axes, [(_steps(row)[-1], row.mean(_name(_steps(row)[-1])), labels[row.label],
                           colour(numbers[row.label])) for row in own_rows])
    return figure, ", ".join(dict.fromkeys(kinds))


def _steps(row: Row) -> list[int]:
    prefix = "HR@10/step "
    return sorted(int(name.removeprefix(prefix)) for name in row.metrics if name.startswith(prefix))


def _name(step: int) -> str:
    return f"HR@10/step {step}"
