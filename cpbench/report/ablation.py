"""Runs of an ablation -> rows with means over seeds, and differences to the reference with what they rest on.

The test is that of every table (`cpbench.report.statistics`): over users and seeds, p corrected by Holm over all that
the table of a protocol shows. What is known of whole lists only has no test.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cpbench.evaluation.metrics import hit_rate
from cpbench.report.statistics import Sample, compare, holm, p_text
from cpbench.report.tables import Estimate

GROWTH = " - "
"""``HR@10/step 10 - step 1``: what a list gains, or keeps losing, from one step to another."""
WINDOWS = {0: "0 s", 60: "1 min", 450: "7.5 min", 900: "15 min", 1800: "30 min", 43_200: "same day", 86_400: "1 day",
           259_200: "3 days", 604_800: "7 days"}
"""Windows by name; on data whose times are whole days, anything under a day hides the same day."""


@dataclass(frozen=True)
class Measured:
    """One variant with one seed: its metrics, and its ranks [E] or [E, H] where they were kept."""

    label: str
    lag: int
    seed: int
    metrics: Mapping[str, float | None]
    ranks: np.ndarray | None = None


@dataclass(frozen=True)
class Difference:
    """To the reference: the mean, and where there are ranks its interval over users and seeds, and p."""

    mean: float
    interval: tuple[float, float] | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class AblationRow:
    label: str
    lag: int
    seeds: list[int]
    metrics: dict[str, Estimate]
    differences: dict[str, Difference]


def ablation_rows(runs: Sequence[Measured], metrics: Sequence[str], reference: str,
                  tested: Sequence[str] | None = None) -> list[AblationRow]:
    """One row a lag and variant, in the order of `runs`; differences of the metrics `tested` (default: of all)."""
    groups: dict[tuple[int, str], list[Measured]] = {}
    for run in runs:
        groups.setdefault((run.lag, run.label), []).append(run)
    rows = [_row(group, groups.get((lag, reference), []), metrics, metrics if tested is None else tested)
            for (lag, _), group in groups.items()]
    return [row for lag in dict.fromkeys(row.lag for row in rows)
            for row in _corrected([row for row in rows if row.lag == lag])]


def _row(group: list[Measured], base: list[Measured], metrics: Sequence[str], tested: Sequence[str]) -> AblationRow:
    estimates = {name: Estimate.of(values) for name in metrics if (values := _values(group, name)) is not None}
    differences = {name: difference for name in tested if name in estimates and base and base[0].label != group[0].label
                   and (difference := _difference(group, base, name)) is not None}
    return AblationRow(group[0].label, group[0].lag, [run.seed for run in group], estimates, differences)


def _values(group: Sequence[Measured], name: str) -> list[float] | None:
    """Of every run; None where one of them lacks it."""
    if GROWTH in name:
        ends = [_values(group, each) for each in _ends(name)]
        return None if None in ends else [later - first for later, first in zip(*filter(None, ends), strict=True)]
    values = [run.metrics.get(name) for run in group]
    return None if None in values else [value for value in values if value is not None]


def _difference(group: list[Measured], base: list[Measured], name: str) -> Difference | None:
    if name.startswith("HR@") and all(run.ranks is not None for run in (*group, *base)):
        one, other = (Sample(np.stack([_hits(run, name) for run in runs])) for runs in (group, base))
        compared = compare(one, other)
        return Difference(compared.mean, compared.interval, compared.p_value)
    own, others = _values(group, name), _values(base, name)
    return None if own is None or others is None else Difference(float(np.mean(own) - np.mean(others)))


def _corrected(rows: list[AblationRow]) -> list[AblationRow]:
    """The rows of one protocol, with the p-values of a family."""
    values = iter(holm([difference.p_value for row in rows for difference in row.differences.values()
                        if difference.p_value is not None]))
    return [replace(row, differences={
        name: difference if difference.p_value is None else replace(difference, p_value=next(values))
        for name, difference in row.differences.items()}) for row in rows]


def _hits(run: Measured, name: str) -> np.ndarray:
    """Per event, for ``HR@K``, ``HR@K/step S`` and ``HR@K/step S - step T``."""
    if GROWTH in name:
        later, first = (_hits(run, each) for each in _ends(name))
        return later - first
    assert run.ranks is not None
    metric, _, step = name.partition("/step ")
    ranks = run.ranks if run.ranks.ndim == 2 else run.ranks[:, None]
    return hit_rate(ranks[:, int(step or 1) - 1], int(metric.removeprefix("HR@")))


def _ends(name: str) -> tuple[str, str]:
    """``HR@10/step 10 - step 1``: the two metrics whose difference it is."""
    metric, _, steps = name.partition("/")
    later, first = steps.split(GROWTH)
    return f"{metric}/{later}", f"{metric}/{first}"


TEST = ("mean [95 % interval over users and seeds], p of a t test over both, Holm-corrected over all figures of "
        "a protocol")
"""What a difference rests on."""


def lag_text(lag: int) -> str:
    return f"serving lag {lag:,} s" if lag else "usual protocol"


def as_document(rows: Sequence[AblationRow]) -> list[dict[str, Any]]:
    """JSON-ready."""
    return [{"variant": row.label, "serving_lag": row.lag, "seeds": row.seeds,
             "metrics": {name: {"mean": each.mean, "spread": each.spread} for name, each in row.metrics.items()},
             "differences": {name: {"mean": each.mean, "interval": each.interval, "p_value": each.p_value}
                             for name, each in row.differences.items()}} for row in rows]


def as_markdown(rows: Sequence[AblationRow], metrics: Sequence[str], reference: str,
                paper: Mapping[str, Mapping[str, float]]) -> str:
    """A table a lag; a difference to the reference stands under each figure, with its interval."""
    lines = []
    for lag in dict.fromkeys(row.lag for row in rows):
        own = [row for row in rows if row.lag == lag]
        lines += [f"**{lag_text(lag)}**, {seeds_text(row.seeds for row in own)}", "",
                  f"| variant | {' | '.join(metrics)} |", f"|---|{'---:|' * len(metrics)}"]
        for row in own:
            lines.append(f"| {row.label} | {' | '.join(_cell(row, name) for name in metrics)} |")
        for label, figures in paper.items():
            shown = [f"{figures[name]:.4f}" if name in figures else "" for name in metrics]
            lines.append(f"| *paper: {label}* | {' | '.join(f'*{text}*' if text else '' for text in shown)} |")
        lines.append("")
    lines.append(f"Differences are to {reference}: {TEST}.")
    return "\n".join(lines) + "\n"


def seeds_text(seeds: Iterable[Sequence[int]]) -> str:
    """How many every row of a table rests on."""
    count = min(map(len, seeds))
    if count < 2:
        return "single runs: intervals and p know users only, and prove less than they seem"
    return f"{count} seeds, mean ± standard deviation"


def _cell(row: AblationRow, name: str) -> str:
    if name not in row.metrics:
        return "-"
    estimate, difference = row.metrics[name], row.differences.get(name)
    text = f"{estimate.mean:.4f}" + ("" if estimate.spread is None else f" ± {estimate.spread:.4f}")
    if difference is None:
        return text
    text += f"<br>{difference.mean:+.4f}"
    if difference.interval is not None:
        text += f" [{difference.interval[0]:+.4f}, {difference.interval[1]:+.4f}]"
    return text if difference.p_value is None else f"{text} {p_text(difference.p_value)}"
