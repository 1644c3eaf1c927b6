"""One self-contained web page: comparison tables that can be sorted, figures, ablations, and every run behind them.

Nothing is loaded, from the network or elsewhere, and the page's own policy forbids it. Whatever came from
records or datasets is text: the template escapes all of it, and no data stand inside a script. The same
records give the same bytes.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cpbench.data.describe import in_words
from cpbench.errors import CpbenchError
from cpbench.report.ablation import lag_text, seeds_text
from cpbench.report.caption import caption, protocol_text
from cpbench.report.figures.style import Drawn
from cpbench.report.page_runs import Ids, RunGroup, Runs, moment
from cpbench.report.page_tables import Page, SortableTable, breakdown, comparison, cost, differences
from cpbench.report.record import ORACLE
from cpbench.report.statistics import p_text
from cpbench.report.stored_ablation import FOLDER, NUMBERS, StoredAblation, StoredRow
from cpbench.report.tables import ComparisonTable

OWN_IDS = ("top", "contents", "main", "remarks", "figures", "runs")
"""Of the template."""


class Picture(NamedTuple):
    """`source`: the image itself, as a data address."""

    source: str
    title: str
    caption: str


class ComparisonView(NamedTuple):
    """One comparison table, and what belongs under it."""

    anchor: str
    """Of its title; the grid has one of its own."""
    main: SortableTable
    caption: list[str]
    sources: list[tuple[str, str]]
    """(anchor, text) of the footnotes."""
    more: list[SortableTable]


class AblationView(NamedTuple):
    anchor: str
    title: str
    stored: StoredAblation
    tables: list[tuple[str, list[StoredRow]]]
    """One a serving lag, with its title."""
    picture: Picture | None
    href: str


class Section(NamedTuple):
    """One version of one dataset."""

    anchor: str
    title: str
    facts: list[tuple[str, str]]
    comparisons: list[ComparisonView]
    pictures: list[Picture]
    ablations: list[AblationView]
    groups: list[RunGroup]
    runs_anchor: str


def html(
    tables: Sequence[ComparisonTable],
    warnings: Sequence[str],
    figures: Sequence[Drawn],
    ablations: Sequence[StoredAblation] = (),
    results: str = ".",
    inspected: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The page.

    `results`: the results folder, seen from the page's. `inspected`: what `cpbench.data.describe.describe` says of a
    dataset, by fingerprint; other datasets have only the counts of their records.
    Raises CpbenchError when a figure cannot be read.
    """
    ids = Ids()
    for own in OWN_IDS:
        ids.new(own)
    results = quote(results.replace("\\", "/"), safe="/")
    page = Page(ids, Runs(tables, results, ids))
    sections = _sections(page, tables, figures, ablations, results, inspected or {})
    datasets = {table.dataset for table in tables}
    style, script = (resources.files("cpbench.report").joinpath(name).read_text(encoding="utf-8")
                     for name in ("page.css", "page.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["p_text"] = p_text
    template = environment.from_string(resources.files("cpbench.report").joinpath("page.html").read_text("utf-8"))
    return template.render(
        sections=sections,
        others=[_picture(figure) for figure in figures if figure.dataset not in datasets],
        warnings=warnings,
        contents=_contents(page.runs, tables, figures, ablations),
        made_by=_made_by(page.runs),
        in_full=page.runs.in_full,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
               "base-uri 'none'; form-action 'none'",
    )


def _sections(page: Page, tables: Sequence[ComparisonTable], figures: Sequence[Drawn],
              ablations: Sequence[StoredAblation], results: str, inspected: Mapping[str, Mapping[str, Any]]
              ) -> list[Section]:
    groups: dict[tuple[str, str], list[ComparisonTable]] = {}
    for table in tables:
        groups.setdefault((table.dataset, table.fingerprint), []).append(table)
    for ablation in ablations:
        groups.setdefault((ablation.dataset, ablation.dataset_fingerprint), [])
    names = [dataset for dataset, _ in groups]
    found, pictured = [], set[str]()
    for (dataset, fingerprint), own in sorted(groups.items()):
        title = dataset if names.count(dataset) == 1 else f"{dataset} (data {fingerprint})"
        pictures = [_picture(figure) for figure in figures if figure.dataset == dataset and dataset not in pictured]
        pictured.add(dataset)
        found.append(Section(
            anchor=page.ids.new(dataset),
            title=title,
            facts=_facts(own, fingerprint, inspected),
            comparisons=[_comparison(page, each) for each in own],
            pictures=pictures,
            ablations=[_ablation(page, each, results) for each in ablations
                       if (each.dataset, each.dataset_fingerprint) == (dataset, fingerprint)],
            groups=page.runs.groups(own),
            runs_anchor=page.ids.new(f"runs-on-{dataset}"),
        ))
    return found


def _comparison(page: Page, table: ComparisonTable) -> ComparisonView:
    title = protocol_text(table.protocol)
    if table.recipes == "paper":
        title += "; recipes of papers"
    main = comparison(page, table, title, page.ids.new(f"{table.dataset}-{title}"))
    grids = (differences(page, table), cost(page, table) if table.rows else None, breakdown(page, table))
    return ComparisonView(
        anchor=page.ids.new(f"{main.anchor}-title"),
        main=main,
        caption=caption(table),
        sources=[(page.ids.new(f"{main.anchor}-source"), text) for text in table.sources],
        more=[grid for grid in grids if grid],
    )


def _facts(tables: Sequence[ComparisonTable], fingerprint: str, inspected: Mapping[str, Mapping[str, Any]]
           ) -> list[tuple[str, str]]:
    if fingerprint in inspected:
        return in_words(inspected[fingerprint])
    facts = [(name, f"{value:,}") for name, value in tables[0].counts.items()] if tables else []
    return [*facts, ("fingerprint", fingerprint)]


def _ablation(page: Page, stored: StoredAblation, results: str) -> AblationView:
    tables = []
    for lag in dict.fromkeys(row.serving_lag for row in stored.rows):
        own = [row for row in stored.rows if row.serving_lag == lag]
        tables.append((f"{lag_text(lag)}, {seeds_text(row.seeds for row in own)}", own))
    title = f"Ablation: {stored.ablation}"
    picture = Picture(_image(stored.figure), "", f"{stored.ablation} on {stored.dataset}, drawn from the numbers above."
                      ) if stored.figure else None
    href = f"{results}/{FOLDER}/{quote('/'.join(stored.folder.parts[-2:]))}/{NUMBERS}"
    return AblationView(page.ids.new(f"ablation-{stored.ablation}-{stored.dataset}"), title, stored, tables, picture,
                        href)


def _picture(figure: Drawn) -> Picture:
    return Picture(_image(figure.path("svg")), figure.title, figure.caption)


def _image(path: Path) -> str:
    try:
        return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise CpbenchError(f"the figure {path} cannot be read: {error.strerror or error}") from error


def _contents(runs: Runs, tables: Sequence[ComparisonTable], figures: Sequence[Drawn],
              ablations: Sequence[StoredAblation]) -> str:
    models = {run.record.model for run in runs.all} - {ORACLE}
    parts = [_many(len(tables), "comparison table"), *([_many(len(figures), "figure")] if figures else []),
             *([_many(len(ablations), "ablation")] if ablations else [])]
    return (f"{_many(len(runs.all), 'run')} of {_many(len(models), 'model')} on "
            f"{_many(len({table.dataset for table in tables}), 'dataset')}: {', '.join(parts)}.")


def _made_by(runs: Runs) -> str:
    if not runs.all:
        return ""
    newest = max(runs.all, key=lambda run: (run.record.finished, str(run.folder))).record
    commit = f", commit {newest.commit[:12]}" if newest.commit else ""
    changed = " with uncommitted changes" if newest.dirty else ""
    version = newest.versions.get("cpbench", "(no version)")
    return f"The newest run finished {moment(newest.finished)}, made by cpbench {version}{commit}{changed}."


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
