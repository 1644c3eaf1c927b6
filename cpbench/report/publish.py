"""A whole report: as one text, or as a folder with every format and the figures; nothing half-written."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from cpbench.errors import CpbenchError, UsageError
from cpbench.report.data_formats import csv_text, document
from cpbench.report.dataset_facts import inspected
from cpbench.report.figures.all import draw_all
from cpbench.report.figures.style import Drawn
from cpbench.report.latex import latex
from cpbench.report.markdown import markdown
from cpbench.report.page import html
from cpbench.report.stored_ablation import ABLATED, stored_ablations
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


def check_place(forms: Sequence[str], folder: Path) -> None:
    """Before anything is computed: raises UsageError where something stands in the way of a report in `folder`."""
    for place in (folder / FIGURES, *(folder / FIGURES).parents):
        if place.exists() and not place.is_dir():
            raise _in_the_way(place, "file", "folder")
    for place in (folder / FILES[form] for form in forms):
        if place.is_dir():
            raise _in_the_way(place, "folder", "file")


def _in_the_way(place: Path, found: str, needed: str) -> UsageError:
    return UsageError(f"{place} is a {found}, where the report has a {needed}: move it or give another --out; "
                      "nothing was written")


def publish(forms: Sequence[str], tables: Sequence[ComparisonTable], warnings: Sequence[str], results: Path,
            folder: Path) -> list[Path]:
    """Write the report in `forms` into `folder`, and the figures into ``figures/`` beside them; no file is put in its
    place before all are made.

    Raises UsageError where a folder stands in a file's place, and CpbenchError when `folder` cannot be written.
    """
    placed = list[Path]()
    fresh = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".report.", dir=folder) as temporary:
            made = Path(temporary)
            drawn = draw_all(tables, made / FIGURES)
            for form in forms:
                text = (_page(tables, warnings, results, folder, drawn) if form == "html" else
                        _plain(form, tables, warnings))
                (made / FILES[form]).write_text(text, encoding="utf-8")
            names = [Path(FILES[form]) for form in forms]
            names += [path.relative_to(made) for each in drawn for path in each.paths]
            if blocked := next((folder / name for name in names if (folder / name).is_dir()), None):
                raise _in_the_way(blocked, "folder", "file")
            if drawn:
                (folder / FIGURES).mkdir(exist_ok=True)
            for name in names:
                (made / name).replace(folder / name)
                placed.append(folder / name)
    except OSError as error:
        for place in fresh if not placed else []:
            with suppress(OSError):
                place.rmdir()
        left = f"{len(placed)} files of the new report are there" if placed else "nothing was left behind"
        raise CpbenchError(f"cannot write the report into {folder}: {error.strerror or error}; {left}") from error
    return placed


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
    ablated = {table.dataset for table in tables if any(row.model == ABLATED for row in table.rows)}
    ablations, unreadable = stored_ablations(results, sorted(ablated)) if ablated else ([], [])
    return html(tables, [*warnings, *unreadable], drawn, ablations, os.path.relpath(results, folder),
                inspected(tables))
