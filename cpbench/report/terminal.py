"""Tables for a terminal; where it is too narrow, the less important metrics are left out and named."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cpbench.report.caption import footnotes
from cpbench.report.grid import TextTable, grid
from cpbench.report.tables import ComparisonTable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EXPENDABLE = ("HR@50", "HR@20", "HR@5", "MRR")
"""Metrics that a narrow terminal goes without, in this order."""
SHORT = {"fit seconds": "fit s", "parameters": "params", "published HR@10 / NDCG@10": "published\nHR@10 / NDCG@10"}


def terminal(tables: Sequence[ComparisonTable], console: "Console") -> "RenderableType":
    """All tables, as wide as `console` allows."""
    from rich.console import Group

    return Group(*(_fit(table, console) for table in tables))


def _fit(table: ComparisonTable, console: "Console") -> "RenderableType":
    from rich.console import Group
    from rich.measure import Measurement
    from rich.text import Text

    columns, dropped = list(table.columns), list[str]()
    drawn = _draw(grid(table, columns))
    unbounded = console.options.update(max_width=10_000)
    for name in EXPENDABLE:
        if Measurement.get(console, unbounded, drawn).maximum <= console.width:
            break
        if name in columns:
            columns.remove(name)
            dropped.append(name)
            drawn = _draw(grid(table, columns))
    lines = footnotes(table)
    if dropped:
        lines.append(f"Not shown in this narrow terminal: {', '.join(dropped)}.")
    return Group(drawn, Text("\n".join(lines) + "\n", style="dim"))


def _draw(cells: TextTable) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(cells.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD,
                  padding=(0, 1, 0, 0), pad_edge=False)
    names = [len(line.cells[0].text) for line in cells.lines]
    drawn.add_column("model", min_width=min(max(names, default=0), 20), max_width=36)
    for heading, is_number in list(zip(cells.headings, cells.numeric, strict=True))[2:]:  # recipes are under the model
        if is_number:
            drawn.add_column(Text(SHORT.get(heading, heading.replace(" less ", "\nless "))), justify="right",
                             no_wrap=True, max_width=24)
        else:
            drawn.add_column(Text(heading), min_width=10, max_width=18)
    for line in cells.lines:
        if line.is_ceiling:
            drawn.add_section()
        model, recipe, *others = line.cells
        drawn.add_row(Text.assemble(model.text, "\n", (recipe.text, "dim")), *(
            Text.assemble((cell.text, "bold" if cell.best else ""),
                          *((f"\n{detail}", "dim") for detail in cell.details)) for cell in others))
    return drawn
