"""What a comparison rests on: seeds and users together, from the stored ranks of every test event.

A model with S seeds gives a value for every seed and user. Both vary and both are samples: other seeds could have been
drawn, other users could have come. So a model's mean has a bootstrap interval in which both are drawn again, and a
difference between two models a t test in which both count (crossed random effects: Baayen, Davidson & Bates 2008; Welch
and Satterthwaite's degrees of freedom).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 1000
CHUNK = 50  # resamples held at once: 50 x 36,000 users x 8 bytes


@dataclass(frozen=True)
class Sample:
    """values float64 [S, U] of one model and metric; `deterministic`: another seed would change nothing."""

    values: np.ndarray
    deterministic: bool = False

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def knows_its_seeds(self) -> bool:
        """Whether how much seeds matter is known: there are several, or they do not matter."""
        return self.deterministic or len(self.values) > 1


@dataclass(frozen=True)
class Comparison:
    """One model less another.

    `p_value` is two-sided, and of a family of comparisons once `holm` has been asked. `effect` is Cohen's d of the
    paired differences over users. `bound`: no difference larger than this can be upheld (two one-sided tests at 5 %).
    `covers_seeds` is false where one of the two is a single run of a model that seeds change.
    """

    mean: float
    interval: tuple[float, float]
    p_value: float
    effect: float
    bound: float
    covers_seeds: bool


def per_user(values: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Values [S, E] of events -> [S, U] of users, with the same mean over the columns.

    A user with several events is one observation, linearised: the mean over events is a ratio of two sums over users.
    """
    _, place, sizes = np.unique(users, return_inverse=True, return_counts=True)
    if (sizes == 1).all():
        return values
    sums = np.stack([np.bincount(place, weights=row) for row in values])
    means = values.mean(axis=1, keepdims=True)
    return (sums - means * sizes) / sizes.mean() + means


def intervals(samples: Sequence[Sample], seed: int = 0) -> list[tuple[float, float]]:
    """Percentile bootstrap intervals of the means of `samples`, all over the same U users.

    Each resample draws U users, the same for all, and S - 1 of each model's S seeds: with S, a bootstrap understates
    the variance of few seeds by (S - 1) / S (Rao & Wu 1988). Of a single run only users are drawn.
    """
    generator = np.random.default_rng(seed)
    n_users = samples[0].values.shape[1]
    stacked = np.concatenate([sample.values for sample in samples]).T
    means = np.empty((RESAMPLES, stacked.shape[1]))
    for first in range(0, RESAMPLES, CHUNK):
        drawn = np.stack([np.bincount(generator.integers(n_users, size=n_users), minlength=n_users)
                          for _ in range(min(CHUNK, RESAMPLES - first))]).astype(np.float64)
        means[first:first + len(drawn)] = drawn @ stacked / n_users
    found, start = [], 0
    for sample in samples:
        n_seeds = len(sample.values)
        own = means[:, start:start + n_seeds]
        start += n_seeds
        if n_seeds > 1:
            seeds = generator.integers(n_seeds, size=(RESAMPLES, n_seeds - 1))
            own = np.take_along_axis(own, seeds, axis=1)
        low, high = np.quantile(own.mean(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        found.append((float(low), float(high)))
    return found


def compare(one: Sample, other: Sample) -> Comparison:
    """`one` less `other`, paired by user; their seeds have nothing in common and are not paired."""
    change = one.values.mean(axis=0) - other.values.mean(axis=0)
    n_users = len(change)
    mean, spread = float(change.mean()), float(change.std(ddof=1)) if n_users > 1 else 0.0
    parts = [(spread**2 / n_users, n_users - 1)]
    parts += [(_seed_variance(sample.values) / len(sample.values), len(sample.values) - 1)
              for sample in (one, other) if len(sample.values) > 1]
    variance = sum(part for part, _ in parts)
    covers_seeds = one.knows_its_seeds and other.knows_its_seeds
    if variance == 0:
        return Comparison(mean, (mean, mean), float(mean == 0), 0.0, abs(mean), covers_seeds)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts if part)
    error = float(np.sqrt(variance))
    reach = error * stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    return Comparison(
        mean=mean,
        interval=(float(mean - reach), float(mean + reach)),
        p_value=float(2 * stats.t.sf(abs(mean) / error, freedom)),
        effect=mean / spread if spread else 0.0,
        bound=float(abs(mean) + error * stats.t.ppf(CONFIDENCE, freedom)),
        covers_seeds=covers_seeds,
    )


def _seed_variance(values: np.ndarray) -> float:
    """What differs from seed to seed for all users alike; values [S, U], S > 1.

    The variance of the seeds' means, less what users that change their mind from seed to seed contribute to it
    (the residual of the two-way layout), which the differences over users hold already.
    """
    n_seeds, n_users = values.shape
    by_seed = values.mean(axis=1)
    if n_users < 2:
        return float(by_seed.var(ddof=1))
    residual = values - by_seed[:, None] - values.mean(axis=0) + values.mean()
    noise = (residual**2).sum() / ((n_seeds - 1) * (n_users - 1))
    return max(0.0, float(by_seed.var(ddof=1) - noise / n_users))


def p_text(p_value: float) -> str:
    """``p < 0.001``, ``p 0.023``."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Holm's step-down correction of a family of p-values (Scandinavian Journal of Statistics 6, 1979).

    `family`: how many comparisons there are, of which `p_values` are some; those that are not given are taken to have
    the largest p-values, which corrects too much rather than too little.
    """
    order = np.argsort(p_values)
    total = len(order) if family is None else family
    stepped = np.asarray(p_values)[order] * np.arange(total, total - len(order), -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()
