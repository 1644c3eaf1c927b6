"""A whole report: as one text, or as a folder with every format and the figures; nothing half-written."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cpbench.files import atomic_file
from cpbench.report.data_formats import csv_text, document
from cpbench.report.dataset_facts import inspected
from cpbench.report.figures.all import draw_all
from cpbench.report.figures.style import Drawn
from cpbench.report.latex import latex
from cpbench.report.markdown import markdown
from cpbench.report.page import html
from cpbench.report.stored_ablation import stored_ablations
from cpbench.report.tables import ComparisonTable

FILES = {"markdown": "report.md", "csv": "report.csv", "json": "report.json", "latex": "report.tex",
         "html": "report.html"}
FIGURES = "figures"


def as_text(form: str, tables: Sequence[ComparisonTable], warnings: Sequence[str], results: Path) -> str:
    """The report in one format of FILES, for standard output."""
    if form == "html":
        with TemporaryDirectory() as folder:
            return _page(tables, warnings, results, Path(), draw_all(tables, Path(folder)))
    return _plain(form, tables, warnings)


def publish(forms: Sequence[str], tables: Sequence[ComparisonTable], warnings: Sequence[str], results: Path,
            folder: Path) -> list[Path]:
    """Write the report in `forms` into `folder`, and the figures into ``figures/`` beside them.

    Raises CpbenchError when the folder cannot be written.
    """
    drawn = draw_all(tables, folder / FIGURES)
    paths = []
    for form in forms:
        text = _page(tables, warnings, results, folder, drawn) if form == "html" else _plain(form, tables, warnings)
        path = folder / FILES[form]
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths + [path for each in drawn for path in each.paths]


def _plain(form: str, tables: Sequence[ComparisonTable], warnings: Sequence[str]) -> str:
    make: dict[str, Callable[[], str]] = {
        "markdown": lambda: markdown(tables),
        "csv": lambda: csv_text(tables),
        "latex": lambda: latex(tables),
        "json": lambda: json.dumps(document(tables, warnings), indent=1, ensure_ascii=False) + "\n",
    }
    return make[form]()


def _page(tables: Sequence[ComparisonTable], warnings: Sequence[str], results: Path, folder: Path,
          drawn: Sequence[Drawn]) -> str:
    """The page as it stands in `folder`, from where its links to the records lead."""
    ablations, unreadable = stored_ablations(results, sorted({table.dataset for table in tables}))
    return html(tables, [*warnings, *unreadable], drawn, ablations, os.path.relpath(results, folder),
                inspected(tables))
