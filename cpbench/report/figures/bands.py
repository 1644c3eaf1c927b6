"""Bands of uncertainty: bootstrapped over seeds and users where the ranks are at hand, else the spread over seeds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cpbench.errors import CpbenchError
from cpbench.evaluation.metrics import hit_rate
from cpbench.report.evidence import read_ranks
from cpbench.report.figures.style import colour, marker
from cpbench.report.statistics import Sample, intervals, per_user
from cpbench.report.tables import Estimate, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OVER_SEEDS = "one standard deviation over seeds"
Interval = tuple[float, float]


def hit_intervals(rows: Sequence[Row], wanted: Mapping[str, tuple[str, int]]) -> tuple[list[dict[str, Interval]], str]:
    """Of every row, the interval of each metric of `wanted`, which names its column of ranks and its K; and what they
    are: `bootstrap_of` the rows, or OVER_SEEDS where not every row has its ranks over the same events.

    A single run without ranks has no interval.
    """
    measured = _hits(rows, wanted)
    if measured is not None:
        samples = [(place, name, sample) for place, own in enumerate(measured) for name, sample in own.items()]
        found: list[dict[str, Interval]] = [{} for _ in rows]
        for (place, name, _), interval in zip(samples, intervals([each for *_, each in samples]), strict=True):
            found[place][name] = rounded(interval[0]), rounded(interval[1])
        return found, bootstrap_of(rows)
    return [{name: (estimate.mean - estimate.spread, estimate.mean + estimate.spread) for name in wanted
             if (estimate := row.metrics.get(name)) is not None and estimate.spread is not None}
            for row in rows], OVER_SEEDS


def bootstrap_of(rows: Sequence[Row]) -> str:
    """What the bootstrap of `rows` draws again, as words of a caption."""
    if all(len(row.seeds) == 1 for row in rows):
        return "95 % bootstrap over users"
    alone = any(len(row.seeds) == 1 and not row.deterministic for row in rows)
    return f"95 % bootstrap over seeds and users{' (of a single run, over users)' * alone}"


def _hits(rows: Sequence[Row], wanted: Mapping[str, tuple[str, int]]) -> list[dict[str, Sample]] | None:
    """None where ranks are missing, damaged, or of other events."""
    columns = list(dict.fromkeys(column for column, _ in wanted.values()))
    events, found = None, []
    for row in rows:
        ranks = []
        for run in row.runs:
            try:
                table = read_ranks(run.folder, ("user", "target", *columns)).sort("user", "target")
            except CpbenchError:
                return None
            events = table.select("user", "target") if events is None else events
            ranks.append(table.select(columns).to_numpy())
            if not len(table) or not table.select("user", "target").equals(events) or not (ranks[-1] >= 1).all():
                return None
        if events is None or not ranks:
            return None
        stacked, users = np.stack(ranks), events["user"].to_numpy()  # [S, E, columns]
        found.append({name: Sample(per_user(hit_rate(stacked[:, :, columns.index(column)], k), users),
                                   row.deterministic) for name, (column, k) in wanted.items()})
    return found or None


def reaches(estimate: Estimate) -> list[list[float]] | None:
    """How far the interval of `estimate` reaches down and up, as matplotlib's error bars want it."""
    if estimate.interval is None:
        return None
    low, high = estimate.interval  # with few events, the mean itself may lie outside
    return [[max(rounded(estimate.mean - low), 0.0)], [max(rounded(high - estimate.mean), 0.0)]]


def rounded(value: float) -> float:
    """Without the last digits, in which one number of threads or machine differs from another: files must not."""
    return round(value, 9)


def band(axes: "Axes", number: int, x: Sequence[float], means: Sequence[float],
         bounds: Sequence[Interval | None], marked: bool = True, label: str = "") -> None:
    """A line in the colour and marker of `number`, and its band where every place has one."""
    known = [each for each in bounds if each is not None]
    if known and len(known) == len(x):
        axes.fill_between(x, [low for low, _ in known], [high for _, high in known], color=colour(number), alpha=0.15,
                          linewidth=0)
    axes.plot(x, means, color=colour(number), marker=marker(number) if marked else "",
              label=label or None)
