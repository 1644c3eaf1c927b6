"""A comparison table as the grids of a page: accuracy, differences, cost, and who and what is served."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import NamedTuple

from cpbench.report.grid import count, difference_text, fit_time, information, published_values
from cpbench.report.page_runs import Ids, RunGroup, Runs, memory
from cpbench.report.record import ORACLE
from cpbench.report.significance import mark
from cpbench.report.statistics import Comparison
from cpbench.report.tables import SORTED_BY, ComparisonTable, Row

BREAKDOWN = ("HR@10/low", "HR@10/middle", "HR@10/high", "HR@10/rare", "HR@10/common", "HR@10/popular", "coverage@10",
             "gini@10", "novelty@10", "diversity@10")

PUBLISHED = "published HR@10\u00a0/\u00a0NDCG@10"
COMPARED: dict[str, tuple[Callable[[Comparison], str], Callable[[Comparison], float | None]]] = {
    "": (lambda each: f"{each.mean:+.4f} {mark(each)}", lambda each: each.mean),
    " interval": (lambda each: f"[{each.interval[0]:+.4f}, {each.interval[1]:+.4f}]", lambda each: each.interval[0]),
    " p": (lambda each: "< .0001" if each.p_value < 1e-4 else f"{each.p_value:.4f}", lambda each: each.p_value),
    " d": (lambda each: "-" if each.effect is None else f"{each.effect:+.3f}", lambda each: each.effect),
    " bound": (lambda each: f"{each.bound:.4f}", lambda each: each.bound),
}
"""What is said of a difference: how it is shown, and what it is sorted by."""


class SortableCell(NamedTuple):
    """A figure, smaller lines below it, and the number that it is sorted by (None sorts last)."""

    text: str = "-"
    order: float | None = None
    lines: Sequence[str] = ()
    best: bool = False
    published: Sequence[tuple[str, int]] = ()
    """Values and the number of their footnote, in place of `text`."""
    runs: Sequence[tuple[int, str]] = ()
    """Seeds and the anchors of their runs, in place of `text`."""


class SortableRow(NamedTuple):
    """The cells of one row, and what it is called."""

    row: Row
    sees: str
    group: RunGroup
    cells: list[SortableCell]


class SortableTable(NamedTuple):
    """A table that can be sorted. `last` stays at the end: the ceiling."""

    anchor: str
    title: str
    columns: list[str]
    lines: list[SortableRow]
    last: SortableRow | None
    sorted_by: str | None = None
    """The column that the lines are sorted by already, descending."""
    notes: Sequence[str] = ()


Column = tuple[str, Callable[[Row], SortableCell]]


class Page(NamedTuple):
    """What the grids of a page share."""

    ids: Ids
    runs: Runs


def comparison(page: Page, table: ComparisonTable, title: str, anchor: str) -> SortableTable:
    """Mean, spread, interval and difference of every metric; published values; seeds with links to their runs."""
    # what table.is_best says, looked up once a column: of thousands of rows each would look at all
    best = {name: max(row.mean(name) for row in table.rows) for name in table.columns} if len(table.rows) > 1 else {}
    columns: list[Column] = [(name, partial(_metric, name, best.get(name))) for name in table.columns]
    if table.sources:
        columns.append((PUBLISHED, lambda row: _published(table, row)))
    columns.append(("seeds", lambda row: SortableCell(order=len(row.seeds), runs=page.runs.by_seed(row))))
    grid = _grid(page, table, title, columns, anchor)
    return grid._replace(sorted_by=SORTED_BY if SORTED_BY in table.columns else None)


def differences(page: Page, table: ComparisonTable) -> SortableTable | None:
    """The differences to the reference with all they rest on; None where there are none."""
    metrics = list(dict.fromkeys(name for row in table.rows for name in row.differences))
    if not metrics:
        return None
    columns: list[Column] = []
    for name in metrics:
        columns += [(f"{name}{what}", partial(_compared, name, show, order))
                    for what, (show, order) in COMPARED.items()]
    rows = [row for row in table.rows if row.differences]
    notes = ["Interval: 95 %, of the t test. p: two-sided, Holm-corrected. Bound: a larger difference can be ruled out "
             "(two one-sided tests at 5 %). d: Cohen's, of the differences between users."]
    return _grid(page, table, f"Differences to {table.reference}", columns, rows=rows, notes=notes)


def cost(page: Page, table: ComparisonTable) -> SortableTable:
    """What every row took."""
    columns: list[Column] = [
        ("fit seconds", lambda row: SortableCell(fit_time(row), row.fit_seconds)),
        ("rank, ms a user", _ranking),
        ("parameters", lambda row: SortableCell(count(row.parameters), row.parameters)),
        ("peak memory", _memory),
        ("best epoch / epochs", _epochs),
    ]
    machines = {run.record.machine for row in table.rows for run in row.runs if run.record.is_costed}
    kinds = sorted({f"{each.device} ({each.cpu}, {each.threads} thread{'s' * (each.threads != 1)})"
                    for each in machines})
    notes = ["Means over seeds (of those on a processor, where there are any); memory is the largest. Ranking "
             "includes the metrics.", f"Measured on {'; '.join(kinds)}"
             + (": times on different machines do not compare." if len(kinds) > 1 else ".")] if kinds else []
    if any(not row.timed for row in table.rows):
        notes.append("-: lists of another system, or nothing to count.")
    return _grid(page, table, "Cost", columns, rows=table.rows, notes=notes)


def breakdown(page: Page, table: ComparisonTable) -> SortableTable | None:
    """Accuracy by activity and popularity, and what the lists are like; None where no run has any of it."""
    present = [name for name in BREAKDOWN if any(name in row.metrics for row in table.all_rows)]
    if not present:
        return None
    columns: list[Column] = [(name, partial(_value, name)) for name in present]
    notes = []
    if "HR@10/low" in present:
        notes.append("low, middle, high: test events in three equal parts by their user's interactions in training.")
    if "HR@10/rare" in present:
        notes.append("rare, common, popular: test events in three equal parts by their target's interactions in "
                     "training.")
    notes.append("coverage: share of the catalogue in anyone's first ten; gini: inequality of exposure, 0 is even; "
                 "novelty: mean -log2 of an item's share of training; diversity: mean 1 - Jaccard of the attribute of "
                 "two items of a list.")
    return _grid(page, table, "By activity, by popularity, and what the lists are like", columns, notes=notes)


def _grid(page: Page, table: ComparisonTable, title: str, columns: Sequence[Column], anchor: str = "",
          rows: Sequence[Row] | None = None, notes: Sequence[str] = ()) -> SortableTable:
    lines = [SortableRow(row, information(row), page.runs.group(row), [cell(row) for _, cell in columns])
             for row in (table.all_rows if rows is None else rows)]
    last = lines.pop() if rows is None and table.ceiling else None
    names = [name for name, _ in columns]
    return SortableTable(anchor or page.ids.new(f"{title}-1"), title, names, lines, last, notes=notes)


def _metric(name: str, best: float | None, row: Row) -> SortableCell:
    estimate = row.metrics.get(name)
    if estimate is None:
        return SortableCell()
    cell = _value(name, row)
    lines = list(cell.lines)
    if estimate.interval is not None:
        lines.append(f"[{estimate.interval[0]:.4f}, {estimate.interval[1]:.4f}]")
    difference = row.differences.get(name)
    if difference is not None:
        lines.append(difference_text(difference))
    return cell._replace(lines=lines, best=row.model != ORACLE and estimate.mean == best)


def _value(name: str, row: Row) -> SortableCell:
    estimate = row.metrics.get(name)
    if estimate is None:
        return SortableCell()
    lines = [] if estimate.spread is None else [f"± {estimate.spread:.4f}"]
    return SortableCell(f"{estimate.mean:.4f}", estimate.mean, lines)


def _published(table: ComparisonTable, row: Row) -> SortableCell:
    values = published_values(row, table.sources)
    first = row.published[0].metrics.get("HR@10") if row.published else None
    return SortableCell("" if not values else "-", first, published=values)


def _ranking(row: Row) -> SortableCell:
    value = row.milliseconds_a_user
    return SortableCell() if value is None else SortableCell(f"{value:.2f}", value)


def _memory(row: Row) -> SortableCell:
    size = max((run.record.cost.peak_rss_bytes for run in row.runs if run.record.is_costed), default=None)
    return SortableCell() if size is None else SortableCell(memory(size), size)


def _epochs(row: Row) -> SortableCell:
    costs = [run.record.cost for run in row.runs]
    if row.deterministic or not row.timed:
        return SortableCell()
    pairs = dict.fromkeys(f"{cost.best_epoch} / {cost.epochs}" for cost in costs)
    return SortableCell(", ".join(pairs), fmean(cost.best_epoch for cost in costs))


def _compared(name: str, show: Callable[[Comparison], str], order: Callable[[Comparison], float | None], row: Row
              ) -> SortableCell:
    difference = row.differences.get(name)
    return SortableCell() if difference is None else SortableCell(show(difference), order(difference))
