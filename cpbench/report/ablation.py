"""Runs of an ablation -> rows with means over seeds, and differences to the reference with what they rest on.

An interval is over users (each user's value averaged over seeds first), a p-value over seeds; both are paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from cpbench.evaluation.metrics import hit_rate
from cpbench.report.tables import Estimate

CONFIDENCE = 0.95
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
    """To the reference: the mean, its interval over users (None without ranks), p over seeds (None below two)."""

    mean: float
    interval: tuple[float, float] | None
    p_value: float | None


@dataclass(frozen=True)
class AblationRow:
    label: str
    lag: int
    seeds: list[int]
    metrics: dict[str, Estimate]
    differences: dict[str, Difference]


def ablation_rows(runs: Sequence[Measured], metrics: Sequence[str], reference: str) -> list[AblationRow]:
    """One row a lag and variant, in the order of `runs`."""
    groups: dict[tuple[int, str], list[Measured]] = {}
    for run in runs:
        groups.setdefault((run.lag, run.label), []).append(run)
    return [_row(group, groups.get((lag, reference), []), metrics) for (lag, _), group in groups.items()]


def _row(group: list[Measured], base: list[Measured], metrics: Sequence[str]) -> AblationRow:
    estimates, differences = {}, {}
    for name in metrics:
        values = [value for run in group if (value := run.metrics.get(name)) is not None]
        if len(values) == len(group):
            estimates[name] = Estimate.of(values)
            if base and base[0].label != group[0].label:
                differences[name] = _difference(group, base, name)
    return AblationRow(group[0].label, group[0].lag, [run.seed for run in group], estimates, differences)


def _difference(group: list[Measured], base: list[Measured], name: str) -> Difference:
    by_seed = {run.seed: run for run in base}
    pairs = [(run, by_seed[run.seed]) for run in group if run.seed in by_seed]
    change = np.array([_value(run, name) - _value(other, name) for run, other in pairs])
    per_user = [_hits(run, name) - _hits(other, name) for run, other in pairs
                if run.ranks is not None and other.ranks is not None and name.startswith("HR@")]
    interval = None
    if len(per_user) == len(pairs) and pairs:
        low, high = stats.ttest_1samp(np.mean(per_user, axis=0), 0.0).confidence_interval(CONFIDENCE)
        interval = (float(low), float(high))
    p_value = None
    if len(change) > 1:
        p_value = float(stats.ttest_1samp(change, 0.0).pvalue) if change.std() > 0 else float(change[0] == 0)
    return Difference(float(change.mean()) if len(change) else float("nan"), interval, p_value)


def _value(run: Measured, name: str) -> float:
    value = run.metrics.get(name)
    return float("nan") if value is None else value


def _hits(run: Measured, name: str) -> np.ndarray:
    """Per event, for ``HR@K`` and ``HR@K/step S``."""
    assert run.ranks is not None
    metric, _, step = name.partition("/step ")
    ranks = run.ranks if run.ranks.ndim == 2 else run.ranks[:, None]
    return hit_rate(ranks[:, int(step or 1) - 1], int(metric.removeprefix("HR@")))


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
    """A table a lag; a difference to the reference stands under each figure, with its interval over users."""
    lines = []
    for lag in dict.fromkeys(row.lag for row in rows):
        own = [row for row in rows if row.lag == lag]
        lines += [f"**{lag_text(lag)}**, {_seeds(own)}", "",
                  f"| variant | {' | '.join(metrics)} |", f"|---|{'---:|' * len(metrics)}"]
        for row in own:
            lines.append(f"| {row.label} | {' | '.join(_cell(row, name) for name in metrics)} |")
        for label, figures in paper.items():
            shown = [f"{figures[name]:.4f}" if name in figures else "" for name in metrics]
            lines.append(f"| *paper: {label}* | {' | '.join(f'*{text}*' if text else '' for text in shown)} |")
        lines.append("")
    lines.append(f"Differences are to {reference}: mean [95 % interval over users] p over seeds, all paired.")
    return "\n".join(lines) + "\n"


def _seeds(rows: Sequence[AblationRow]) -> str:
    count = min(len(row.seeds) for row in rows)
    return "single runs: small differences mean nothing" if count < 2 else f"{count} seeds, mean ± standard deviation"


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
    return text + ("" if difference.p_value is None else f" p {difference.p_value:.3f}")
