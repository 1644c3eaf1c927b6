"""A table as cells of text, the same for every format: what stands in a row, how a figure is written, what is bold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cpbench.data.protocol import Protocol
from cpbench.report.record import ORACLE, RunRecord
from cpbench.report.significance import mark
from cpbench.report.statistics import Comparison, p_text
from cpbench.report.tables import PROCESSOR, SORTED_BY, ComparisonTable, Row

LONGEST = 24  # letters of a row's label in a heading; the caption names it in full


class TextCell(NamedTuple):
    """`text` and, under or behind it, `details`: spread, interval, ..."""

    text: str
    details: tuple[str, ...] = ()
    best: bool = False


class TextRow(NamedTuple):
    cells: list[TextCell]
    is_ceiling: bool


@dataclass(frozen=True)
class TextTable:
    """`numeric` says which columns are figures, and are aligned right."""

    title: str
    headings: list[str]
    numeric: list[bool]
    lines: list[TextRow]


def title(table: ComparisonTable) -> str:
    lag = f", serving lag {table.protocol.serving_lag:,} s" if table.protocol.serving_lag else ""
    many = f", {table.protocol.targets_per_user} targets a user" if table.protocol.targets_per_user > 1 else ""
    share = "" if table.protocol.holdout == Protocol().holdout else f", holdout {table.protocol.holdout:g}"
    steps = f", lists {table.protocol.horizon} steps before the end" if table.protocol.horizon > 1 else ""
    given = f", given the {table.protocol.condition}" if table.protocol.condition else ""
    seen = "" if table.protocol.exclude_seen else ", seen items kept"
    recipes = ", recipes of the papers" if table.recipes == "paper" else ""
    return f"{table.dataset}: {table.protocol.split}{lag}{seen}{steps}{given}{many}{share}{recipes}"


def grid(table: ComparisonTable, columns: Sequence[str] | None = None) -> TextTable:
    """`table` with the metrics of `columns` (all that it has)."""
    columns = table.columns if columns is None else columns
    headings, numeric = ["model", "recipe", "sees"], [False, False, False]
    headings += columns
    numeric += [True] * len(columns)
    compared = any(row.differences for row in table.rows)
    expected = any(row.published for row in table.rows)
    if compared:
        short = table.reference if table.reference and len(table.reference) <= LONGEST else "the reference"
        headings.append(f"{SORTED_BY} minus {short}")
    if expected:
        headings.append("published HR@10 / NDCG@10")
    numeric += [True] * (compared + expected)
    headings += ["fit seconds", "parameters", "seeds"]
    numeric += [True] * 3
    lines = []
    for row in table.all_rows:
        is_ceiling = row is table.ceiling
        cells = [TextCell(row.model), TextCell(row.recipe), TextCell(information(row))]
        cells += [metric_cell(table, row, name) for name in columns]
        if compared:
            cells.append(difference_cell(row.differences.get(SORTED_BY)))
        if expected:
            first, *others = [f"{values} [{source}]" for values, source in published_values(row, table.sources)] or [""]
            cells.append(TextCell(first, tuple(others)))
        seeds = str(len(row.seeds)) if row.timed else "-"
        cells += [TextCell("")] * 3 if is_ceiling else [
            TextCell(fit_time(row)), TextCell(count(row.parameters)), TextCell(seeds)]
        lines.append(TextRow(cells, is_ceiling))
    return TextTable(title(table), headings, numeric, lines)


def metric_cell(table: ComparisonTable, row: Row, name: str) -> TextCell:
    """``0.0604``, ``±0.0012``, ``[0.0580, 0.0629]``."""
    estimate = row.metrics.get(name)
    if estimate is None:
        return TextCell("-")
    details = []
    if estimate.spread is not None:
        details.append(f"±{number(estimate.spread)}")
    if estimate.interval is not None:
        details.append(f"[{number(estimate.interval[0])}, {number(estimate.interval[1])}]")
    return TextCell(number(estimate.mean), tuple(details), row is not table.ceiling and table.is_best(row, name))


def difference_cell(difference: Comparison | None) -> TextCell:
    """`difference_text`, ``[-0.0058, -0.0026]``, ``p < 0.001, d -0.03``."""
    if difference is None:
        return TextCell("")
    low, high = difference.interval
    effect = "-" if difference.effect is None else f"{difference.effect:+.2f}"
    chance = f"{p_text(difference.p_value)}, d {effect}"
    return TextCell(difference_text(difference), (f"[{low:+.4f}, {high:+.4f}]", chance))


def difference_text(difference: Comparison) -> str:
    """``-0.0042 †``; where nothing is told apart, ``-0.0007 ≈ ±0.0021``: no larger difference is likely."""
    symbol = mark(difference)
    return f"{difference.mean:+.4f} {symbol}" + (f" ±{number(difference.bound)}" if "≈" in symbol else "")


def information(row: Row | RunRecord) -> str:
    """``ids + times + categories``."""
    return " + ".join(row.information if row.model == ORACLE else ["ids", *row.information])


def published_values(row: Row, sources: Sequence[str]) -> list[tuple[str, int]]:
    """``0.0668 / 0.0354``: published HR@10 and NDCG@10, each pair with the number of its source."""
    pairs = [[number(entry.metrics[name]) if name in entry.metrics else "-" for name in ("HR@10", "NDCG@10")]
             for entry in row.published]
    return [(" / ".join(pair), sources.index(entry.source) + 1)
            for pair, entry in zip(pairs, row.published, strict=True)]


def fit_time(row: Row) -> str:
    """``360``; ``88 (GPU)`` where no run was trained on a processor; ``-`` where nobody knows."""
    if row.fit_seconds is None:
        return "-"
    return seconds(row.fit_seconds) + ("" if row.device == PROCESSOR else " (GPU)")


def seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def count(value: int | None) -> str:
    """``812``, ``45.1 k``, ``1.3 M``, ``-``."""
    if value is None:
        return "-"
    for limit, unit in ((1_000_000, "M"), (1_000, "k")):
        if value >= limit:
            return f"{value / limit:,.1f} {unit}"
    return str(value)


def number(value: float) -> str:
    return f"{value:.4f}"
