"""What a world was worth, by level of activity, and paired differences between worlds with bootstrap intervals.

Every metric is a ratio of two sums over users, so that resampling users resamples the whole metric.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpbench.data.streaming.draws import Draws
from cpbench.data.streaming.service import Service
from cpbench.data.streaming.traffic import Traffic
from cpbench.experiments.simulation import Served

METRICS = ("like_rate", "listening_minutes", "genre_diversity", "language_diversity")
"""Likes a play; minutes a user and day; effective number of genres and of languages shown to a user."""
EVERYBODY = "all"
RESAMPLES, COVERAGE = 1000, 95
BOOTSTRAP = 201  # purpose of the stream


@dataclass(frozen=True)
class Lift:
    """A policy minus the first one, and that in % of the first one's value (the lift); each with its interval.

    NaN where the metric or its interval does not exist (nobody of that level came, or the first one's value is 0).
    """

    difference: float
    low: float
    high: float
    lift: float
    lift_low: float
    lift_high: float


def groups(service: Service, traffic: Traffic) -> dict[str, np.ndarray]:
    """Everybody, and the users of each level of activity: bool [U] by name."""
    level, levels = service.level[traffic.users], len(service.config.activity_shares)
    names = ("low", "middle", "high") if levels == 3 else tuple(f"level {number + 1}" for number in range(levels))
    return {EVERYBODY: np.ones(len(level), dtype=bool)} | {name: level == each for each, name in enumerate(names)}


def per_user(served: Served, service: Service, traffic: Traffic) -> np.ndarray:
    """Numerator and denominator of each of METRICS for every user, float64 [len(METRICS), 2, U]."""
    n_users = len(traffic.users)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(traffic.user, weights=values.sum(axis=1), minlength=n_users)

    anything = np.bincount(traffic.user, weights=served.made, minlength=n_users) > 0
    days = np.full(n_users, float(traffic.days))
    return np.array([
        (summed(served.liked), summed(served.begun)),
        (summed(served.seconds) / 60.0, days),
        (_variety(served, traffic, service.member), anything),
        (_variety(served, traffic, service.dataset.attribute("language").matrix()), anything),
    ])


def _variety(served: Served, traffic: Traffic, member: np.ndarray) -> np.ndarray:
    """The effective number of values (e to the entropy) among the songs shown to each user, float64 [U]; 0 of none."""
    row, place = np.nonzero(served.shown >= 0)
    count = np.zeros((len(traffic.users), member.shape[1]))
    np.add.at(count, traffic.user[row], member[served.shown[row, place]])
    total = count.sum(axis=1, keepdims=True)
    share = count / np.maximum(total, 1.0)
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return np.where(total[:, 0] > 0, np.exp(entropy), 0.0)


def values(users: np.ndarray, members: np.ndarray) -> dict[str, float]:
    """The metrics of the users that `members` bool [U] marks, from what `per_user` gave; NaN where nothing counts."""
    return dict(zip(METRICS, _ratios(users, members.astype(np.float64)[None])[:, 0].tolist(), strict=True))


def differences(of: Sequence[np.ndarray], members: dict[str, np.ndarray], seed: int
                ) -> list[dict[str, dict[str, Lift]]]:
    """Of every policy but the first, against the first: by group and metric. `of` holds what `per_user` gave.

    The same users are drawn for both sides of a difference: intervals are those of paired differences.
    """
    n_users = of[0].shape[2]
    drawn = Draws(seed, BOOTSTRAP).below(n_users, RESAMPLES, n_users)
    times = np.array([np.bincount(row, minlength=n_users) for row in drawn], dtype=np.float64)  # [RESAMPLES, U]
    result: list[dict[str, dict[str, Lift]]] = [{} for _ in of[1:]]
    for name, group in members.items():
        exact, resampled = group.astype(np.float64)[None], times * group
        first = _ratios(of[0], exact), _ratios(of[0], resampled)
        for found, other in zip(result, of[1:], strict=True):
            second = _ratios(other, exact), _ratios(other, resampled)
            found[name] = {metric: _difference(float(first[0][at, 0]), float(second[0][at, 0]), first[1][at],
                                               second[1][at]) for at, metric in enumerate(METRICS)}
    return result


def _ratios(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[len(METRICS), 2, U] and how often each user counts [S, U] -> [len(METRICS), S]; NaN where nothing counts."""
    above, below = users[:, 0] @ times.T, users[:, 1] @ times.T
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _difference(first: float, second: float, firsts: np.ndarray, seconds: np.ndarray) -> Lift:
    gap = seconds - firsts
    lift = 100.0 * np.divide(gap, firsts, out=np.full_like(gap, np.nan), where=firsts > 0)
    exact = second - first
    relative = 100.0 * exact / first if first > 0 else math.nan
    return Lift(exact, *_interval(gap), relative, *_interval(lift))


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    """Percentiles; resamples without a value (nobody of a small group was drawn) are left out."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, [(100 - COVERAGE) / 2, (100 + COVERAGE) / 2])
    return float(low), float(high)
