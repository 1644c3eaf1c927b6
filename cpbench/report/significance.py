"""Adds to a table what its figures rest on: intervals, and every row's difference to a reference row."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cpbench.errors import CpbenchError, unknown
from cpbench.evaluation.metrics import accuracies, hit_rate, ndcg
from cpbench.report.evidence import aligned
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
    for table, (users, ranks, problems, wrong) in zip(tables, _all_evidence(tables), strict=True):
        missing += problems
        contradicted |= wrong
        left = without(table, wrong) if wrong else table
        if left is not None:
            measured = [_stacked([ranks[run.folder] for run in row.runs]) for row in left.rows]
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


class TableEvidence(NamedTuple):
    """`aligned` ranks of a table's runs, by folder, and of which runs they contradict the record."""

    users: np.ndarray
    ranks: dict[Path, np.ndarray | None]
    problems: list[str]
    contradictions: dict[Path, str]


def _all_evidence(tables: Sequence[ComparisonTable]) -> Iterator[TableEvidence]:
    """Of every table; that of the next is read while the caller computes."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = deque[Future[TableEvidence]]()
        for table in tables:
            coming.append(reader.submit(_evidence, table))
            if len(coming) > 1:
                yield coming.popleft().result()
        yield from (evidence.result() for evidence in coming)


def _evidence(table: ComparisonTable) -> TableEvidence:
    runs = [run for row in table.rows for run in row.runs]
    users, found, problems = aligned(runs)
    ranks = dict(zip((run.folder for run in runs), found, strict=True))
    wrong = {folder: problem for row in table.rows for folder, problem in _contradictions(row, ranks).items()}
    return TableEvidence(users, ranks, problems, wrong)


def _contradictions(row: Row, ranks: Mapping[Path, np.ndarray | None]) -> dict[Path, str]:
    """What the records of `row` say against their `ranks`, by folder; nothing of those that say nothing."""
    known = {run.folder: own for run in row.runs if (own := ranks[run.folder]) is not None}
    found = dict(zip(known, accuracies(np.stack(list(known.values())), row.beam), strict=True)) if known else {}
    return {run.folder: f"{run.folder}: {wrong[0]}" for run in row.runs if run.folder in found
            and (wrong := contradictions(run.record.metrics.test, found[run.folder]))}


def _stacked(ranks: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """float64 [S, E]; None where a run has no ranks."""
    found = [own for own in ranks if own is not None]
    return np.stack(found) if len(found) == len(ranks) else None


def _reference(table: ComparisonTable, measured: Sequence[np.ndarray | None], wanted: str | None) -> Row | None:
    compared = METRICS.keys() & set(table.columns)
    usable = [row for row, ranks in zip(table.rows, measured, strict=True)
              if ranks is not None and compared & row.metrics.keys()]
    if wanted is None:
        return usable[0] if usable else None
    fitting = [row for row in usable if wanted in (row.model, row.label)]
    return next((row for row in fitting if row.recipe == "tuned"), fitting[0] if fitting else None)


def _corrected(samples: Sequence[Sample], pairs: np.ndarray) -> np.ndarray:
    """The p-values of `pairs` (int [P, 2] of places in `samples`), corrected as one family.

    A p that knows no seeds is too small: it counts in the family, but lowers no correction of one that knows them.
    """
    values = p_values(samples, pairs)
    known = np.array([sample.knows_its_seeds for sample in samples])[pairs].all(axis=1)
    return np.where(known, holm(np.where(known, values, 1.0)), holm(values))


def _samples(table: ComparisonTable, users: np.ndarray, measured: Sequence[np.ndarray | None]
             ) -> Iterator[tuple[str, dict[int, Sample]]]:
    """Of every metric that is compared, the samples of the rows that have it, by their place in `table`."""
    ranked = {place: ranks for place, ranks in enumerate(measured) if ranks is not None}
    if not ranked:
        return
    together = np.concatenate(list(ranked.values()))
    ends = np.cumsum([len(ranks) for ranks in ranked.values()])
    for name in (name for name in METRICS if name in table.columns):
        values = np.split(per_user(METRICS[name](together), users), ends[:-1])
        yield name, {place: Sample(own, table.rows[place].deterministic)
                     for place, own in zip(ranked, values, strict=True) if name in table.rows[place].metrics}


def _with_statistics(table: ComparisonTable, users: np.ndarray, measured: Sequence[np.ndarray | None],
                     wanted: str | None) -> ComparisonTable:
    """`measured` are the ranks [S, E] of every row, of test events of `users` [E]."""
    rows, reference = list(table.rows), _reference(table, measured, wanted)
    for name, samples in _samples(table, users, measured):
        places, own = list(samples), list(samples.values())
        if not own or own[0].values.shape[1] < 2:  # one user says nothing of others
            continue
        for place, interval in zip(places, intervals(own), strict=True):
            estimate = replace(rows[place].metrics[name], interval=interval)
            rows[place] = replace(rows[place], metrics={**rows[place].metrics, name: estimate})
        base = next((each for each, place in enumerate(places)
                     if reference and rows[place].label == reference.label), None)
        if base is not None:
            others = [each for each in range(len(own)) if each != base]
            against_base = [(each, base) for each in others]
            # the best row was chosen by these very events: any two rows could have been the ones compared
            rest = combinations(others, 2) if wanted is None else ()
            pairs = np.array([*against_base, *rest], dtype=int).reshape(-1, 2)
            corrected = _corrected(own, pairs)[:len(others)].tolist()
            for each, found, p_value in zip(others, comparisons(own, pairs[:len(others)]), corrected, strict=True):
                place = places[each]
                rows[place] = replace(rows[place], differences={**rows[place].differences,
                                                                name: replace(found, p_value=p_value)})
    return replace(table, rows=rows, reference=reference.label if reference else None,
                   reference_is_named=wanted is not None)

