"""Tables for a paper: a document that compiles as it stands (booktabs), of which each table can be pasted elsewhere."""

from collections.abc import Sequence

from cpbench.report.caption import footnotes
from cpbench.report.grid import TextCell, grid
from cpbench.report.tables import ComparisonTable

SPECIAL = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
           "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
           "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
           "/": r"/\allowbreak{}",  # a path as a setting is longer than its column
           "±": r"$\pm$", "≈": r"$\approx$", "†": r"$^{\dagger}$", "Δ": r"$\Delta$"}
PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[margin=1cm,landscape,a3paper]{geometry}
\usepackage{array,booktabs,graphicx}
\begin{document}
"""
PARAGRAPH = r">{\raggedright\arraybackslash}p{5cm}"
LONG = 40
"""Letters of a recipe above which its column breaks lines."""
AT_MOST_A_LINE = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""A table wider than the line, of a page or of a paper's column, is set smaller."""
COMPARED = ("HR@10", "HR@50", "NDCG@10", "CC@10")
"""The metrics of a printed table: a page is narrower than a screen."""


def latex(tables: Sequence[ComparisonTable]) -> str:
    """One document with every table as a ``table`` environment."""
    return PREAMBLE + "\n".join(_environment(table) for table in tables) + "\\end{document}\n"


def _environment(table: ComparisonTable) -> str:
    cells = grid(table, [name for name in table.columns if name in COMPARED])
    alignment = "".join("r" if is_number else PARAGRAPH if heading == "recipe" and _is_long(column) else "l"
                        for heading, is_number, *column in zip(cells.headings, cells.numeric,
                                                               *(line.cells for line in cells.lines), strict=True))
    lines = [r"\begin{table}[p]", r"\centering\footnotesize",
             f"\\caption{{{escape(cells.title)}. \\scriptsize {escape(' '.join(footnotes(table)))}}}",
             AT_MOST_A_LINE, f"\\begin{{tabular}}{{{alignment}}}", r"\toprule",
             _row([escape(heading) for heading in cells.headings]), r"\midrule"]
    for line in cells.lines:
        if line.is_ceiling:
            lines.append(r"\midrule")
        lines.append(_row([_text(cell) for cell in line.cells]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""])


def _is_long(column: Sequence[TextCell]) -> bool:
    return any(len(cell.text) > LONG for cell in column)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _text(cell: TextCell) -> str:
    text = f"\\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)
    return " ".join([text, *(f"{{\\scriptsize {escape(detail)}}}" for detail in cell.details)])


def escape(text: str) -> str:
    """Text that LaTeX sets as it stands; what pdfTeX has no letter for becomes a question mark."""
    plain = " ".join(text.split())
    return "".join(SPECIAL.get(letter) or (letter if letter.isascii() or (letter.isalpha() and ord(letter) < 0x180)
                                           else "?")
                   for letter in plain)
