"""Tables for GitHub; whatever came from data is escaped."""

import re
from collections.abc import Sequence

from cpbench.report.caption import footnotes
from cpbench.report.grid import TextCell, grid
from cpbench.report.tables import ComparisonTable


def markdown(tables: Sequence[ComparisonTable]) -> str:
    """GitHub tables, each with its title, caption and sources."""
    return "\n".join(f"### {escape(grid(table).title)}\n\n{pipe_table(table)}\n{notes(table)}" for table in tables)


def pipe_table(table: ComparisonTable, columns: Sequence[str] | None = None) -> str:
    """The table alone."""
    cells = grid(table, columns)
    lines = [_pipes([escape(heading) for heading in cells.headings]),
             _pipes(["---:" if is_number else "---" for is_number in cells.numeric])]
    lines += [_pipes([_text(cell) for cell in line.cells]) for line in cells.lines]
    return "\n".join(lines) + "\n"


def notes(table: ComparisonTable) -> str:
    return "  \n".join(map(escape, footnotes(table))) + "\n"


def _text(cell: TextCell) -> str:
    text = escape(cell.text)
    return "<br>".join([f"**{text}**" if cell.best else text, *map(escape, cell.details)])


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Text that GitHub shows as it stands, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))
