"""Adds to a table what its figures rest on: intervals, and every row's difference to a reference row."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from cpbench.errors import CpbenchError, unknown
from cpbench.evaluation.metrics import accuracy, hit_rate, ndcg
from cpbench.report.evidence import Run, aligned
from cpbench.report.statistics import Comparison, Sample, comparisons, holm, intervals, p_values, per_user
from cpbench.report.tables import ComparisonTable, Row, without
from cpbench.report.verify import contradictions

METRICS = {"HR@10": lambda ranks: hit_rate(ranks, 10), "HR@50": lambda ranks: hit_rate(ranks, 50),
           "NDCG@10": lambda ranks: ndcg(ranks, 10)}
"""The metrics that are compared, per event: the top of a list, and what a retriever hands on. Others may lead there."""
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
    """The tables with intervals and differences, less the runs whose metrics their own ranks contradict; and warnings
    about those, and about ranks that cannot be used.

    `reference` is a model (its tuned row, where it has several) or a row's label; without it, every table's best row.
    Raises UsageError when no table has it, and CpbenchError when no run is left.
    """
    rows = [row for table in tables for row in table.rows]
    if reference is not None and not any(reference in (row.model, row.label) for row in rows):
        raise unknown("reference model", reference, {row.model for row in rows})
    found, missing, contradicted = [], list[str](), dict[Path, str]()
    for table in tables:
        runs = [run for row in table.rows for run in row.runs]
        users, ranks, problems = aligned(runs)
        missing += problems
        wrong = {run.folder: problem for run, own in zip(runs, ranks, strict=True)
                 if own is not None and (problem := _contradiction(run, own))}
        contradicted |= wrong
        left = without(table, wrong) if wrong else table
        if left is not None:
            by_run = {run.folder: own for run, own in zip(runs, ranks, strict=True)}
            measured = [_stacked([by_run[run.folder] for run in row.runs]) for row in left.rows]
            found.append(_with_statistics(left, users, measured, reference))
    warnings = [f"left out: {problem}; see `cpbench verify {folder}`" for folder, problem in contradicted.items()]
    if tables and not found:
        raise CpbenchError(f"no run is left to report: {_first_of(warnings)}")
    if missing:
        warnings.append(f"rows without statistics: {_first_of(missing)}")
    lacking = [table for table in found if table.rows and table.reference is None]
    if reference is not None and lacking:
        warnings.append(f"{reference} has no row with ranks and any of {', '.join(METRICS)} in {len(lacking)} of "
                        f"{len(found)} tables: nothing is compared there")
    return found, warnings


def _first_of(sentences: Sequence[str]) -> str:
    return sentences[0] + (f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else "")


def _contradiction(run: Run, ranks: np.ndarray) -> str:
    """What the record of `run` says against its ranks; empty where it says nothing against them."""
    beam = run.record.notes.get("beam")
    wrong = contradictions(run.record.metrics.test, accuracy(ranks, None if beam is None else int(beam)))
    return f"{run.folder}: {wrong[0]}" if wrong else ""


def _stacked(ranks: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """float64 [S, E]; None where a run has no ranks."""
    found = [own for own in ranks if own is not None]
    return np.stack(found) if len(found) == len(ranks) else None


def _reference(table: ComparisonTable, measured: Sequence[np.ndarray | None], wanted: str | None) -> Row | None:
    usable = [row for row, ranks in zip(table.rows, measured, strict=True)
              if ranks is not None and any(name in row.metrics and name in table.columns for name in METRICS)]
    if wanted is None:
        return usable[0] if usable else None
    fitting = [row for row in usable if wanted in (row.model, row.label)]
    return next((row for row in fitting if row.recipe == "tuned"), fitting[0] if fitting else None)


def _corrected(pairs: Sequence[tuple[Sample, Sample]]) -> list[float]:
    """The p-values of `pairs`, corrected as one family.

    A p that knows no seeds is too small: it counts in the family, but lowers no correction of one that knows them.
    """
    values = p_values(pairs)
    known = [one.knows_its_seeds and other.knows_its_seeds for one, other in pairs]
    sure = holm([value if knows else 1.0 for value, knows in zip(values, known, strict=True)])
    return [one if knows else other for one, other, knows in zip(sure, holm(values), known, strict=True)]


def _with_statistics(table: ComparisonTable, users: np.ndarray, measured: Sequence[np.ndarray | None],
                     wanted: str | None) -> ComparisonTable:
    """`measured` are the ranks [S, E] of every row, of test events of `users` [E]."""
    rows, reference = list(table.rows), _reference(table, measured, wanted)
    for name, value in METRICS.items():
        if name not in table.columns:
            continue
        samples = {place: Sample(per_user(value(ranks), users), rows[place].deterministic)
                   for place, ranks in enumerate(measured) if ranks is not None and name in rows[place].metrics}
        if not samples or next(iter(samples.values())).values.shape[1] < 2:  # one user says nothing of others
            continue
        for place, interval in zip(samples, intervals(list(samples.values())), strict=True):
            estimate = replace(rows[place].metrics[name], interval=interval)
            rows[place] = replace(rows[place], metrics={**rows[place].metrics, name: estimate})
        base = next((place for place in samples if reference and rows[place].label == reference.label), None)
        if base is not None:
            others = [place for place in samples if place != base]
            against_base = [(samples[place], samples[base]) for place in others]
            # the best row was chosen by these very events: any two rows could have been the ones compared
            rest = combinations([samples[place] for place in others], 2) if wanted is None else ()
            corrected = _corrected([*against_base, *rest])[:len(others)]
            for place, found, p_value in zip(others, comparisons(against_base), corrected, strict=True):
                rows[place] = replace(rows[place], differences={**rows[place].differences,
                                                                name: replace(found, p_value=p_value)})
    return replace(table, rows=rows, reference=reference.label if reference else None,
                   reference_is_named=wanted is not None)

