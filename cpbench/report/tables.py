"""Runs -> tables: one for every dataset, version of its data, protocol, and kind of recipe; never two of them in one.

Rows are models (with recipe and settings given by hand), sorted by NDCG@10; figures are means over seeds. Recipes that
repeat a paper stand apart from those that were tuned: a table must not set an untuned model against a tuned one.
"""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from cpbench.data.protocol import Protocol
from cpbench.report.evidence import Run
from cpbench.report.published import Published, published_for
from cpbench.report.record import ORACLE, RunRecord, learned_since
from cpbench.report.statistics import Comparison

SORTED_BY = "NDCG@10"
SHOWN = ("HR@5", "HR@10", "HR@20", "HR@50", "NDCG@10", "MRR", "CC@10", "CC@50")
"""The metrics of a printed table; CSV and JSON hold them all."""
SHORTEST = "HR@1"
"""Shown of a row that has none of them: of lists of fewer than five items."""
AS_PUBLISHED = ("paper", "large")
"""Recipes with the settings of a paper or its code."""
PROCESSOR = "cpu"


@dataclass(frozen=True)
class Estimate:
    """Mean over n seeds, their sample standard deviation (None for a single run), and the bootstrap interval of the
    mean over users and seeds (None without ranks)."""

    mean: float
    spread: float | None
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        mean = fmean(values)
        if len(values) < 2:
            return cls(mean, None)
        if min(values) == max(values):  # the mean may be off in its last digit
            return cls(mean, 0.0)
        # statistics.stdev, exact in fractions, takes thirty times as long, which thousands of rows notice
        squares = math.fsum((value - mean) ** 2 for value in values)
        return cls(mean, math.sqrt(squares / (len(values) - 1)))


@dataclass(frozen=True)
class Row:
    model: str
    recipe: str
    """Recipe and, behind it, what was set by hand: ``tuned, loss=bce``."""
    information: list[str]
    seeds: list[int]
    metrics: dict[str, Estimate]
    parameters: int | None
    """None where nobody knows (`RunRecord.is_costed`), like what else a row took."""
    published: list[Published] = field(default_factory=list)
    """What is to be expected."""
    undertuned: list[Published] = field(default_factory=list)
    """What was published, but is no expectation."""
    beam: int | None = None
    """Ranked by lists that it generates, of so many items; None: by scores of the whole catalogue."""
    runs: list[Run] = field(default_factory=list)
    differences: dict[str, Comparison] = field(default_factory=dict)
    """By metric: this row less the table's reference; empty without ranks, and for the reference itself."""

    @property
    def deterministic(self) -> bool:
        """Whether seeds change nothing: of a model that counts, as far as its runs show."""
        differ = any(estimate.spread for estimate in self.metrics.values())
        return all(run.record.deterministic for run in self.runs) and not differ

    @cached_property
    def timed(self) -> list[RunRecord]:
        """Those whose times may be averaged: where some were trained on a processor and some on a GPU, the former; none
        where nobody knows what they took."""
        records = [run.record for run in self.runs if run.record.is_costed]
        return [record for record in records if record.machine.device == PROCESSOR] or records

    @property
    def device(self) -> str | None:
        """``cpu`` or ``cuda``: what the times are of."""
        return self.timed[0].machine.device.partition(":")[0] if self.timed else None

    @property
    def fit_seconds(self) -> float | None:
        return fmean(record.cost.fit_seconds for record in self.timed) if self.timed else None

    @property
    def milliseconds_a_user(self) -> float | None:
        """Of ranking the test events, metrics included; None where a record does not say how many there were."""
        if not self.timed or not all(record.notes.get("events") for record in self.timed):
            return None
        return 1000 * fmean(record.cost.evaluate_seconds / record.notes["events"] for record in self.timed)

    @property
    def label(self) -> str:
        """``sasrec (tuned, width=32)``."""
        return f"{self.model} ({self.recipe})"

    def mean(self, metric: str) -> float:
        """The mean of `metric`, minus infinity where there is none."""
        return self.metrics[metric].mean if metric in self.metrics else -math.inf


@dataclass(frozen=True)
class ComparisonTable:
    dataset: str
    protocol: Protocol
    fingerprint: str
    counts: dict[str, int]
    notes: dict[str, float]
    rows: list[Row]
    ceiling: Row | None
    recipes: str = "tuned"
    """``paper``: every trained model has the settings of its paper."""
    reference: str | None = None
    """The label of the row that the others are compared with."""
    reference_is_named: bool = False
    """Whether it was asked for; else it is the best row, chosen by the same events as the comparison."""

    @property
    def all_rows(self) -> list[Row]:
        """The models and, last, the ceiling."""
        return [*self.rows, *([self.ceiling] if self.ceiling else [])]

    @property
    def unofficial(self) -> list[str]:
        """The files of the data that are not the official ones; a record that knows speaks for all: they have one
        fingerprint."""
        return sorted({name for row in self.all_rows for run in row.runs for name in run.record.dataset_unofficial})

    @property
    def columns(self) -> list[str]:
        """The metrics worth a column: those that some row has, at cut-offs below the size of the catalogue."""
        present = {name for row in self.all_rows for name in shown(row.metrics)}
        return [name for name in (SHORTEST, *SHOWN)
                if name in present and cutoff(name) < self.counts.get("items", 0)]

    @property
    def meaningless(self) -> list[str]:
        """The metrics without a column because everything, or nearly, is within their cut-off."""
        return [name for name in SHOWN if cutoff(name) >= self.counts.get("items", 0)
                and (self.protocol.condition is not None or not name.startswith("CC"))]

    @property
    def sources(self) -> list[str]:
        """The sources of all published values, in order of appearance: footnote n is number n - 1."""
        return list(dict.fromkeys(entry.source for row in self.rows for entry in row.published))

    def is_best(self, row: Row, metric: str) -> bool:
        """Whether no other row has more of `metric`; never in a table of one row."""
        return len(self.rows) > 1 and metric in row.metrics and row.mean(metric) == self._highest[metric]

    @cached_property
    def _highest(self) -> dict[str, float]:
        names = {name for row in self.rows for name in row.metrics}
        return {name: max(row.mean(name) for row in self.rows) for name in names}


def comparison_tables(runs: Iterable[Run]) -> tuple[list[ComparisonTable], list[str]]:
    """All tables, by dataset and protocol, and warnings that say why some runs are not in one table."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        record, protocol = run.record, run.record.protocol
        # the plainest protocol first
        key = (record.dataset, protocol.condition is not None, protocol.horizon, protocol.split, protocol.serving_lag,
               protocol.model_dump_json(), record.dataset_fingerprint)
        groups.setdefault(key, []).append(run)
    tables, warnings = [], []
    for key in sorted(groups):
        for recipes, group in _by_kind_of_recipe(groups[key]).items():
            table, strange = _table(group, recipes)
            tables.append(table)
            warnings += strange
    return tables, list(dict.fromkeys([*warnings, *_warnings(tables)]))


def _by_kind_of_recipe(runs: list[Run]) -> dict[str, list[Run]]:
    """Models that count, and the ceiling, have no recipe to speak of: they stand in both kinds."""
    neither, paper, tuned = list[Run](), list[Run](), list[Run]()
    for run in runs:
        if run.record.model == ORACLE or run.record.deterministic:
            neither.append(run)
        else:
            (paper if run.record.recipe in AS_PUBLISHED else tuned).append(run)
    if not paper:
        return {"tuned": runs}
    return {**({"tuned": neither + tuned} if tuned else {}), "paper": neither + paper}


def without(table: ComparisonTable, folders: Container[Path]) -> ComparisonTable | None:
    """`table` less the runs in `folders`; None where none is left."""
    left = [run for row in table.all_rows for run in row.runs if run.folder not in folders]
    return _table(left, table.recipes)[0] if left else None


def shown(metrics: Collection[str]) -> list[str]:
    """Those of `metrics` that a printed table has."""
    return [name for name in SHOWN if name in metrics] or [name for name in (SHORTEST,) if name in metrics]


def cutoff(metric: str) -> int:
    _, _, k = metric.partition("@")
    return int(k) if k.isdigit() else 0


def _table(runs: list[Run], recipes: str) -> tuple[ComparisonTable, list[str]]:
    models = [run for run in runs if run.record.model != ORACLE]
    ceilings = [run for run in runs if run.record.model == ORACLE]
    rows = [_row(group, label) for label, group in _by_settings(models)]
    rows.sort(key=lambda row: (-row.mean(SORTED_BY), row.model, row.recipe))
    first = (models or ceilings)[0].record
    ceiling = _row(ceilings[:1], "ceiling") if ceilings else None
    table = ComparisonTable(first.dataset, first.protocol, first.dataset_fingerprint, first.dataset_counts, first.notes,
                            rows, ceiling, recipes)
    return table, [f"{run.folder} has no number for {name}, so neither has its row"
                   for row in table.all_rows for run, name in _gaps(row)]


def _gaps(row: Row) -> list[tuple[Run, str]]:
    """The runs of `row` without a number for a metric that other runs have, or that is recorded without one."""
    names = dict.fromkeys(name for run in row.runs for name in run.record.metrics.test)
    return [(run, name) for run in row.runs for name in names
            if (name in run.record.metrics.test or name in SHOWN)  # older records lack younger metrics
            and not _is_number(run.record.metrics.test.get(name))]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _by_settings(runs: list[Run]) -> list[tuple[str, list[Run]]]:
    """Runs of one model and one configuration belong to one row; seeds that occur twice count once, the last."""
    alike: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.record.finished):
        record = run.record
        overrides = [f"{key}={_plain(value)}" for key, value in record.overrides.items()]
        label = ", ".join([record.recipe, *overrides, *([record.obeys] if record.obeys not in ("", "model") else [])])
        alike[record.model, label].append(run)
    found = []
    for (_, label), candidates in alike.items():
        groups: dict[str, dict[int, Run]] = defaultdict(dict)
        learned = learned_since([run.record for run in candidates])
        for run in candidates:
            config = {key: value for key, value in run.record.config.items() if key not in learned}
            groups[json.dumps(config, sort_keys=True)][run.record.seed] = run
        for by_seed in groups.values():
            group = [by_seed[seed] for seed in sorted(by_seed)]
            of_when = ""
            if len(groups) > 1:  # the recipe itself was changed between runs
                seeds = ", ".join(str(run.record.seed) for run in group)
                of_when = f" of {group[-1].record.finished[:10]}, seed {seeds}"
            found.append((label + of_when, group))
    return found


def _row(group: list[Run], label: str) -> Row:
    records = [run.record for run in group]
    names = dict.fromkeys(name for record in records for name in record.metrics.test)
    metrics = {}
    for name in names:
        values = [value for record in records if (value := record.metrics.test.get(name)) is not None
                  and _is_number(value)]
        if len(values) == len(group):
            metrics[name] = Estimate.of(values)
    first = records[0]
    elsewhere = published_for(first)
    return Row(first.model, label, first.information, [record.seed for record in records], metrics,
               first.cost.parameters if first.is_costed else None,
               [entry for entry in elsewhere if not entry.undertuned],
               [entry for entry in elsewhere if entry.undertuned],
               int(first.notes["beam"]) if "beam" in first.notes else None, group)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _warnings(tables: Sequence[ComparisonTable]) -> list[str]:
    lines, several = [], []
    for dataset in dict.fromkeys(table.dataset for table in tables):
        own = [table for table in tables if table.dataset == dataset]
        prints = dict.fromkeys(table.fingerprint for table in own)
        if len(prints) > 1:
            lines.append(f"the records on {dataset} come from {len(prints)} versions of the data (fingerprints "
                         f"{', '.join(prints)}): they do not compare and stand in separate tables")
        protocols = {table.protocol.model_dump_json() for table in own}
        if len(protocols) > 1:
            several.append(f"{len(protocols)} on {dataset}")
    if several:
        lines.append(f"several protocols ({', '.join(several)}): their records do not compare and stand in separate "
                     "tables")
    return lines
