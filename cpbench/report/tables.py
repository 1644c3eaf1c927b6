"""RunRecords -> tables: one for every dataset, version of its data, and protocol; never two of them in one.

Rows are models (with recipe and settings given by hand), sorted by NDCG@10; figures are means over seeds.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from cpbench.data.protocol import Protocol
from cpbench.report.published import Published, published_for
from cpbench.report.record import ORACLE, RunRecord

SORTED_BY = "NDCG@10"
SHOWN = ("HR@5", "HR@10", "HR@20", "HR@50", "NDCG@10", "MRR", "CC@10", "CC@50")
"""The metrics of a printed table; CSV and JSON hold them all."""


@dataclass(frozen=True)
class Estimate:
    """Mean over n seeds and their sample standard deviation (None for a single run)."""

    mean: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Row:
    model: str
    recipe: str
    """Recipe and, behind it, what was set by hand: ``tuned, loss=bce``."""
    information: list[str]
    seeds: list[int]
    metrics: dict[str, Estimate]
    fit_seconds: float
    parameters: int
    published: list[Published] = field(default_factory=list)
    beam: int | None = None
    """Ranked by lists that it generates, of so many items; None: by scores of the whole catalogue."""

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

    @property
    def all_rows(self) -> list[Row]:
        """The models and, last, the ceiling."""
        return [*self.rows, *([self.ceiling] if self.ceiling else [])]

    @property
    def columns(self) -> list[str]:
        """The metrics worth a column: those that some row has, at cut-offs below the size of the catalogue."""
        present = {name for row in self.all_rows for name in row.metrics}
        return [name for name in SHOWN if name in present and _cutoff(name) < self.counts.get("items", 0)]

    @property
    def sources(self) -> list[str]:
        """The sources of all published values, in order of appearance: footnote n is number n - 1."""
        return list(dict.fromkeys(entry.source for row in self.rows for entry in row.published))

    def is_best(self, row: Row, metric: str) -> bool:
        """Whether no other row has more of `metric`; never in a table of one row."""
        return len(self.rows) > 1 and metric in row.metrics and row.mean(metric) == max(
            other.mean(metric) for other in self.rows)


def comparison_tables(records: Iterable[RunRecord]) -> tuple[list[ComparisonTable], list[str]]:
    """All tables, by dataset and protocol, and warnings that say why some records are not in one table."""
    groups: dict[tuple[str, str, str], list[RunRecord]] = {}
    for record in records:
        key = (record.dataset, record.protocol.model_dump_json(), record.dataset_fingerprint)
        groups.setdefault(key, []).append(record)
    tables = [_table(groups[key]) for key in sorted(groups)]
    return tables, _warnings(tables)


def describe(protocol: Protocol) -> str:
    """The protocol in words: everything that changes a number."""
    parts: list[str] = [protocol.split]
    if protocol.split == "temporal":
        parts.append(f"cuts at the last {protocol.holdout:.0%} and {2 * protocol.holdout:.0%}, "
                     f"first {protocol.targets_per_user} per user")
    if protocol.condition is not None:
        parts.append(f"given the {protocol.condition} of the true next item")
    if protocol.horizon > 1:
        parts.append(f"lists made {protocol.horizon} interactions before the end")
    parts.append("seen items excluded" if protocol.exclude_seen else "seen items kept in the ranking")
    parts.append(f"serving lag {protocol.serving_lag:,} s" if protocol.serving_lag else "no serving lag")
    return ", ".join(parts)


def caption(table: ComparisonTable) -> list[str]:
    """Sentences that belong under a table."""
    counts, notes = table.counts, table.notes
    lines = [f"Protocol: {describe(table.protocol)}; the whole catalogue is ranked.",
             f"Data: {counts.get('users', 0):,} users, {counts.get('items', 0):,} items, "
             f"{counts.get('interactions', 0):,} interactions; fingerprint {table.fingerprint}.",
             _seeds(table)]
    facts = []
    if "events" in notes:
        facts.append(f"{notes['events']:,.0f} test events")
    if notes.get("empty_history_share"):
        facts.append(f"{notes['empty_history_share']:.1%} of them without any visible history")
    if notes.get("target_seen_before_share"):
        missed = ", which are misses here" if table.protocol.exclude_seen else ""
        facts.append(f"{notes['target_seen_before_share']:.1%} with a target seen before{missed}")
    if notes.get("targets_unseen_in_training"):
        facts.append(f"{notes['targets_unseen_in_training']:,.0f} with a target unseen in training")
    if facts:
        lines.append(f"{', '.join(facts)}.")
    beams = sorted({f"{row.model} (beam of {row.beam})" for row in table.rows if row.beam is not None})
    if beams:
        lines.append(f"Ranked by the lists they generate, a target outside the beam being a miss: {', '.join(beams)}.")
    small = [name for name in SHOWN if _cutoff(name) >= counts.get("items", 0)
             and (table.protocol.condition is not None or not name.startswith("CC"))]
    if small:
        lines.append(f"Left out: {', '.join(small)}: the catalogue has only {counts.get('items', 0)} items.")
    if table.ceiling:
        lines.append("Ceiling: what the best possible ranking attains on these events; only a simulation knows it.")
    return lines


def _seeds(table: ComparisonTable) -> str:
    sizes = {len(row.seeds) for row in table.rows}
    if sizes <= {1}:
        return "Single run of each model: without a spread over seeds, small differences mean nothing."
    what = f"{min(sizes)} seeds" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)} seeds"
    single = " Rows without ± are single runs." if 1 in sizes else ""
    return f"Mean ± standard deviation over {what}.{single}"


def _cutoff(metric: str) -> int:
    _, _, k = metric.partition("@")
    return int(k) if k.isdigit() else 0


def _table(records: list[RunRecord]) -> ComparisonTable:
    models = [record for record in records if record.model != ORACLE]
    ceilings = [record for record in records if record.model == ORACLE]
    rows = [_row(group, label) for label, group in _by_settings(models)]
    rows.sort(key=lambda row: (-row.mean(SORTED_BY), row.model, row.recipe))
    first = (models or ceilings)[0]
    ceiling = _row(ceilings[:1], "ceiling") if ceilings else None
    return ComparisonTable(first.dataset, first.protocol, first.dataset_fingerprint, first.dataset_counts, first.notes,
                           rows, ceiling)


def _by_settings(records: list[RunRecord]) -> list[tuple[str, list[RunRecord]]]:
    """Records of one model and one configuration belong to one row; seeds that occur twice count once, the last."""
    groups: dict[tuple[str, str, str], dict[int, RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.finished):
        overrides = [f"{key}={_plain(value)}" for key, value in record.overrides.items()]
        label = ", ".join([record.recipe, *overrides, *([record.obeys] if record.obeys not in ("", "model") else [])])
        groups.setdefault((record.model, label, json.dumps(record.config, sort_keys=True)), {})[record.seed] = record
    labels = [key[:2] for key in groups]
    found = []
    for (model, label, _), by_seed in groups.items():
        group = [by_seed[seed] for seed in sorted(by_seed)]
        if labels.count((model, label)) > 1:  # the recipe itself was changed between runs
            label += f" of {group[-1].finished[:10]}, seed {', '.join(str(record.seed) for record in group)}"
        found.append((label, group))
    return found


def _row(group: list[RunRecord], label: str) -> Row:
    names = dict.fromkeys(name for record in group for name in record.metrics.test)
    metrics = {}
    for name in names:
        values = [value for record in group if (value := record.metrics.test.get(name)) is not None]
        if len(values) == len(group):
            metrics[name] = Estimate.of(values)
    return Row(group[0].model, label, group[0].information, [record.seed for record in group], metrics,
               fmean(record.cost.fit_seconds for record in group), group[0].cost.parameters, published_for(group[0]),
               int(group[0].notes["beam"]) if "beam" in group[0].notes else None)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _warnings(tables: Sequence[ComparisonTable]) -> list[str]:
    lines = []
    for dataset in dict.fromkeys(table.dataset for table in tables):
        own = [table for table in tables if table.dataset == dataset]
        prints = dict.fromkeys(table.fingerprint for table in own)
        if len(prints) > 1:
            lines.append(f"the records on {dataset} come from {len(prints)} versions of the data (fingerprints "
                         f"{', '.join(prints)}): they do not compare and stand in separate tables")
        protocols = dict.fromkeys(describe(table.protocol) for table in own)
        if len(protocols) > 1:
            lines.append(f"the records on {dataset} come from {len(protocols)} protocols ({'; '.join(protocols)}): "
                         "they do not compare and stand in separate tables")
    return lines
