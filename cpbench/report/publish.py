"""Writes a whole report into a folder: every format, the figures, and nothing half-written."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cpbench.files import atomic_file
from cpbench.report.data_formats import csv_text, document
from cpbench.report.figures.all import draw_all
from cpbench.report.figures.style import Drawn
from cpbench.report.latex import latex
from cpbench.report.markdown import markdown
from cpbench.report.page import html
from cpbench.report.tables import ComparisonTable

FILES = {"markdown": "report.md", "csv": "report.csv", "json": "report.json", "latex": "report.tex",
         "html": "report.html"}
FIGURES = "figures"


def as_text(form: str, tables: Sequence[ComparisonTable], warnings: Sequence[str], results: Path,
            drawn: Sequence[Drawn] | None = None) -> str:
    """The report in one format; the page draws its figures itself where `drawn` does not bring them."""
    if form == "html":
        ablations = sorted(path.parent for path in results.glob("ablations/*/*/table.json"))
        if drawn is not None:
            return html(tables, warnings, drawn, ablations)
        with TemporaryDirectory() as folder:
            return html(tables, warnings, draw_all(tables, Path(folder)), ablations)
    plain: dict[str, Callable[[], str]] = {
        "markdown": lambda: markdown(tables),
        "csv": lambda: csv_text(tables),
        "latex": lambda: latex(tables),
        "json": lambda: json.dumps(document(tables, warnings), indent=1, ensure_ascii=False) + "\n",
    }
    return plain[form]()


def publish(forms: Sequence[str], tables: Sequence[ComparisonTable], warnings: Sequence[str], results: Path,
            folder: Path) -> list[Path]:
    """Write the report in `forms` into `folder`, and the figures into ``figures/`` beside them.

    Raises CpbenchError when the folder cannot be written.
    """
    drawn = draw_all(tables, folder / FIGURES)
    paths = []
    for form in forms:
        path = folder / FILES[form]
        text = as_text(form, tables, warnings, results, drawn)
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths + [path for each in drawn for path in each.paths]
