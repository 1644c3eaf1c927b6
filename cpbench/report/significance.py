"""Adds to a table what its figures rest on: intervals, and every row's difference to a reference row."""

from collections.abc import Sequence
from dataclasses import replace

from cpbench.errors import unknown
from cpbench.evaluation.metrics import hit_rate, ndcg
from cpbench.report.evidence import Ranks, aligned
from cpbench.report.statistics import Comparison, Sample, compare, holm, intervals, per_user
from cpbench.report.tables import ComparisonTable, Row

METRICS = {"HR@10": lambda ranks: hit_rate(ranks, 10), "NDCG@10": lambda ranks: ndcg(ranks, 10)}
"""The metrics that are compared, per event."""
LEVEL = 0.05


def mark(difference: Comparison | None) -> str:
    """``†`` for a difference, ``≈`` for none that was found, in brackets where a single run of a model that seeds
    change is compared; nothing for the reference and rows without ranks."""
    if difference is None:
        return ""
    symbol = "†" if difference.p_value < LEVEL else "≈"
    return symbol if difference.covers_seeds else f"({symbol})"


def with_statistics(tables: Sequence[ComparisonTable], reference: str | None = None
                    ) -> tuple[list[ComparisonTable], list[str]]:
    """The tables with intervals and differences, and warnings about ranks that cannot be used.

    `reference` is a model (its tuned row, where it has several) or a row's label; without it, every table's best row.
    Raises UsageError when no table has it.
    """
    labels = {name for table in tables for row in table.rows for name in (row.model, row.label)}
    if reference is not None and reference not in labels:
        raise unknown("reference model", reference, labels)
    found, missing = [], []
    for table in tables:
        measured, problems = aligned([row.runs for row in table.rows])
        missing += problems
        found.append(_with_statistics(table, measured, _reference(table, measured, reference), reference is not None))
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    warnings = [f"rows without statistics: {missing[0]}{more}"] if missing else []
    without = [table for table in found if table.rows and table.reference is None]
    if reference is not None and without:
        warnings.append(f"{reference} has no row with ranks in {len(without)} of {len(found)} tables: nothing is "
                        "compared there")
    return found, warnings


def _reference(table: ComparisonTable, measured: Sequence[Ranks | None], wanted: str | None) -> Row | None:
    usable = [row for row, ranks in zip(table.rows, measured, strict=True) if ranks is not None]
    if wanted is None:
        return usable[0] if usable else None
    fitting = [row for row in usable if wanted in (row.model, row.label)]
    return next((row for row in fitting if row.recipe == "tuned"), fitting[0] if fitting else None)


def _with_statistics(table: ComparisonTable, measured: Sequence[Ranks | None], reference: Row | None, is_named: bool
                     ) -> ComparisonTable:
    rows = list(table.rows)
    usable = [place for place, ranks in enumerate(measured) if ranks is not None]
    for name, value in METRICS.items():
        samples = {place: Sample(per_user(value(ranks.ranks), ranks.users), rows[place].deterministic)
                   for place in usable if (ranks := measured[place]) is not None and name in rows[place].metrics}
        if not samples or next(iter(samples.values())).values.shape[1] < 2:  # one user says nothing of others
            continue
        for place, interval in zip(samples, intervals(list(samples.values())), strict=True):
            estimate = replace(rows[place].metrics[name], interval=interval)
            rows[place] = replace(rows[place], metrics={**rows[place].metrics, name: estimate})
        base = next((place for place in samples if reference and rows[place].label == reference.label), None)
        if base is not None:
            others = [place for place in samples if place != base]
            differences = [compare(samples[place], samples[base]) for place in others]
            # the best row was chosen by these very events: any two rows could have been the ones compared
            family = len(others) if is_named else len(samples) * len(others) // 2
            corrected = holm([each.p_value for each in differences], family)
            for place, difference, p_value in zip(others, differences, corrected, strict=True):
                own = {**rows[place].differences, name: replace(difference, p_value=p_value)}
                rows[place] = replace(rows[place], differences=own)
    return replace(table, rows=rows, reference=reference.label if reference else None, reference_is_named=is_named)

