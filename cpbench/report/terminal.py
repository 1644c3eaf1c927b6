"""Tables for a terminal; where it is too narrow, the less important columns are left out and named."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from cpbench.report.caption import footnotes
from cpbench.report.grid import TextCell, TextRow, TextTable, grid
from cpbench.report.tables import ComparisonTable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

DIFFERENCE = " minus "
"""In the heading of the differences to the reference."""
EXPENDABLE = ("HR@50", "HR@20", "HR@5", "MRR", "parameters", "published HR@10 / NDCG@10", "fit seconds", "seeds",
              DIFFERENCE, "HR@10")
"""What a narrow terminal goes without, in this order. The model's name is never given up."""
SHORT = {"fit seconds": "fit s", "parameters": "params", "published HR@10 / NDCG@10": "published\nHR@10 / NDCG@10"}
MODEL, RECIPE, SEES = range(3)
GAP, EDGES = 2, 2  # between two columns; at both sides together
LEAST, WIDEST = 16, {MODEL: 36, RECIPE: 36, SEES: 18}
WIDEST_FIGURE = 24


def terminal(tables: Sequence[ComparisonTable], console: "Console") -> "RenderableType":
    """All tables, as wide as `console` allows."""
    from rich.console import Group

    return Group(*(_fit(table, console) for table in tables))


def _fit(table: ComparisonTable, console: "Console") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    cells = grid(table)
    layout = _layout(cells, console.width)
    lines = footnotes(table)
    if layout.dropped:
        lines.append(f"Not shown in this narrow terminal: {', '.join(layout.dropped)}.")
    return Group(_draw(cells, layout, console), Text("\n".join(lines) + "\n", style="dim"))


@dataclass(frozen=True)
class Layout:
    """`figures`: place of a column -> its width. `sees` 0: what a model sees stands under its name."""

    model: int
    sees: int
    figures: dict[int, int]
    dropped: list[str]


def _layout(cells: TextTable, width: int) -> Layout:
    """First what a model sees goes under its name, then figures go, until the names fit beside what is left."""
    figures = {place: _width(cells, place) for place, is_number in enumerate(cells.numeric) if is_number}
    texts = {place: min(max(len(text) for text in (cells.headings[place], *_texts(cells, place))), widest)
             for place, widest in WIDEST.items()}
    wanted = max(texts[MODEL], texts[RECIPE])
    least = max(min(texts[MODEL], WIDEST_FIGURE), min(wanted, LEAST))

    def room() -> int:
        return width - EDGES - sum(figure + GAP for figure in figures.values())

    if room() >= wanted + GAP + texts[SEES]:
        return Layout(wanted, texts[SEES], figures, [])
    dropped = []
    for name in EXPENDABLE:
        place = next((place for place in figures if _expendable(cells.headings[place]) == name), None)
        if place is not None and room() < least:
            dropped.append(cells.headings[place])
            del figures[place]
    return Layout(max(least, min(max(wanted, texts[SEES]), room())), 0, figures, dropped)


def _texts(cells: TextTable, place: int) -> list[str]:
    return [line.cells[place].text for line in cells.lines]


def _expendable(heading: str) -> str:
    """As EXPENDABLE calls it."""
    return DIFFERENCE if DIFFERENCE in heading else heading


def _width(cells: TextTable, place: int) -> int:
    """Of a column of figures: its longest line."""
    lines = _heading(cells, place).splitlines()
    for line in cells.lines:
        lines += [line.cells[place].text, *line.cells[place].details]
    return min(max(map(len, lines)), WIDEST_FIGURE)


def _heading(cells: TextTable, place: int) -> str:
    return SHORT.get(cells.headings[place], cells.headings[place].replace(DIFFERENCE, "\nminus "))


def _draw(cells: TextTable, layout: Layout, console: "Console") -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(cells.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD,
                  padding=(0, 1, 0, 0), pad_edge=False)
    drawn.add_column("model", width=layout.model, overflow="fold")  # a cut name may be that of two rows
    if layout.sees:
        drawn.add_column("sees", width=layout.sees)
    for place, width in layout.figures.items():
        drawn.add_column(Text(_heading(cells, place)), justify="right", no_wrap=True, width=width)
    for is_ceiling, lines in groupby(cells.lines, key=attrgetter("is_ceiling")):
        if is_ceiling:
            drawn.add_section()
        drawn.add_row(*_columns(list(lines), layout, console))
    return drawn


def _columns(lines: Sequence[TextRow], layout: Layout, console: "Console") -> list["RenderableType"]:
    """All lines as one row: thousands of them take rich seconds."""
    from rich.segment import Segment, Segments
    from rich.style import Style
    from rich.text import Text

    bold, dim = Style(bold=True), Style(dim=True)

    def folded(text: Text, width: int) -> list[list[Segment]]:
        return [list(part.render(console)) for part in text.wrap(console, width, overflow="fold")]

    def figure(cell: TextCell, width: int) -> list[list[Segment]]:
        return [[Segment(cell.text.rjust(width), bold if cell.best else None)],
                *([Segment(detail.rjust(width), dim)] for detail in cell.details)]

    columns: list[list[Segment]] = [[] for _ in range(1 + bool(layout.sees) + len(layout.figures))]
    for line in lines:
        model, recipe, sees = (cell.text for cell in line.cells[:3])
        names = Text.assemble(model, "\n", (recipe if layout.sees else f"{recipe}\n{sees}", "dim"))
        drawn = [folded(names, layout.model), *([folded(Text(sees), layout.sees)] if layout.sees else []),
                 *(figure(line.cells[place], width) for place, width in layout.figures.items())]
        height = max(map(len, drawn))
        for column, own in zip(columns, drawn, strict=True):
            for part in (*own, *[[]] * (height - len(own))):
                column += [*part, Segment.line()]
    return [Segments(column) for column in columns]
