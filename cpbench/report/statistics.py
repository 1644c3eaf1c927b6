"""What a comparison rests on: seeds and users together, from the stored ranks of every test event.

A model with S seeds gives a value for every seed and user. Both vary and both are samples: other seeds could have been
drawn, other users could have come. So a model's mean has a bootstrap interval in which both are drawn again, and a
difference between two models a t test in which both count (crossed random effects: Baayen, Davidson & Bates 2008; Welch
and Satterthwaite's degrees of freedom).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t; `scipy.stats` would take a second more to import

CONFIDENCE = 0.95
RESAMPLES = 1000
CHUNK = 50  # resamples held at once: 50 x 36,000 users x 8 bytes
ROUNDING = 1e-12
"""The share of two models' variances below which that of their difference is nothing but their rounding."""


@dataclass(frozen=True)
class Sample:
    """values float64 [S, U] of one model and metric; `deterministic`: another seed would change nothing."""

    values: np.ndarray
    deterministic: bool = False

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @cached_property
    def by_user(self) -> np.ndarray:
        """Means over seeds, [U]."""
        return np.asarray(self.values.mean(axis=0))

    @cached_property
    def seed_variance(self) -> tuple[float, float]:
        """Of the mean over seeds, what differs from seed to seed for all users alike, and the mean square holding it.

        The variance of the seeds' means, less what users that change their mind from seed to seed contribute to it
        (the residual of the two-way layout), which the differences over users hold already. Of a single run: 0, 0.
        """
        n_seeds, n_users = self.values.shape
        if n_seeds == 1:
            return 0.0, 0.0
        by_seed = self.values.mean(axis=1)
        square = float(by_seed.var(ddof=1))
        if n_users < 2:
            return square / n_seeds, square / n_seeds
        residual = self.values - by_seed[:, None] - self.by_user + self.values.mean()
        noise = float((residual**2).sum() / ((n_seeds - 1) * (n_users - 1)))
        return max(0.0, square - noise / n_users) / n_seeds, square / n_seeds

    @property
    def knows_its_seeds(self) -> bool:
        """Whether how much seeds matter is known: there are several, or they do not matter."""
        return self.deterministic or len(self.values) > 1


@dataclass(frozen=True)
class Comparison:
    """One model less another.

    `p_value` is two-sided, and of a family of comparisons once `holm` has been asked. `effect` is Cohen's d of the
    paired differences over users; None where these are all the same and not 0. `bound`: a larger difference can be
    ruled out (two one-sided tests at 5 %). `covers_seeds` is false where one of the two is a single run of a model that
    seeds change.
    """

    mean: float
    interval: tuple[float, float]
    p_value: float
    effect: float | None
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
    own_means, start = np.empty((RESAMPLES, len(samples))), 0
    for place, sample in enumerate(samples):
        n_seeds = len(sample.values)
        own = means[:, start:start + n_seeds]
        start += n_seeds
        if n_seeds > 1:
            seeds = generator.integers(n_seeds, size=(RESAMPLES, n_seeds - 1))
            own = np.take_along_axis(own, seeds, axis=1)
        own_means[:, place] = own.mean(axis=1)
    low, high = np.quantile(own_means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0).tolist()
    return list(zip(low, high, strict=True))


def compare(one: Sample, other: Sample) -> Comparison:
    """`one` less `other`, paired by user; their seeds have nothing in common and are not paired."""
    return comparisons([(one, other)])[0]


def comparisons(pairs: Sequence[tuple[Sample, Sample]]) -> list[Comparison]:
    """`compare` of many pairs, all over the same U users."""
    if not pairs:
        return []
    found = _differences(pairs)
    reach, bound = (found.error * stdtrit(found.freedom, level) for level in ((1 + CONFIDENCE) / 2, CONFIDENCE))
    columns = (found.mean, found.spread, reach, bound, found.p_value())
    return [Comparison(
        mean=mean,
        interval=(mean - reach, mean + reach),
        p_value=p_value,
        effect=mean / spread if spread else 0.0 if mean == 0 else None,
        bound=abs(mean) + bound,
        covers_seeds=one.knows_its_seeds and other.knows_its_seeds,
    ) for (one, other), mean, spread, reach, bound, p_value
        in zip(pairs, *(column.tolist() for column in columns), strict=True)]


def p_values(pairs: Sequence[tuple[Sample, Sample]]) -> list[float]:
    """Those of `compare`, uncorrected, of many pairs, all over the same U users."""
    return _differences(pairs).p_value().tolist() if pairs else []


@dataclass(frozen=True)
class _Differences:
    """Of P pairs, each float64 [P]: the mean over users of one less the other, its standard deviation over users, its
    standard error, and degrees of freedom."""

    mean: np.ndarray
    spread: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    n_users: int

    def p_value(self) -> np.ndarray:
        """Where every user has the same difference there is nothing to estimate a spread from: the sign test's."""
        ratio = np.divide(np.abs(self.mean), self.error, out=np.zeros_like(self.mean), where=self.error > 0)
        signs = np.where(self.mean == 0, 1.0, 2.0 ** (1 - self.n_users))
        return np.where(self.error > 0, 2 * stdtr(self.freedom, -ratio), signs)


def _differences(pairs: Sequence[tuple[Sample, Sample]]) -> _Differences:
    """There is at least one pair."""
    n_users = pairs[0][0].values.shape[1]
    samples = {id(sample): sample for pair in pairs for sample in pair}
    places = {name: place for place, name in enumerate(samples)}
    index = np.array([(places[id(one)], places[id(other)]) for one, other in pairs])  # [P, 2]
    one, other = index.T
    by_user = np.stack([sample.by_user for sample in samples.values()])
    means = by_user.mean(axis=1)
    # one product of matrices for all pairs: the variance of a difference is that of both, less twice the covariance
    covariance = np.cov(by_user) if n_users > 1 else np.zeros((len(samples), len(samples)))
    covariance = covariance.reshape(len(samples), len(samples))
    both = covariance.diagonal()[index].sum(axis=1)
    square = both - 2 * covariance[one, other]
    square[square < ROUNDING * both] = 0.0
    users = square / n_users
    by_seed = np.array([(*sample.seed_variance, max(1, len(sample.values) - 1)) for sample in samples.values()])[index]
    part, squares = (np.column_stack([users, by_seed[..., which]]) for which in (0, 1))  # [P, 3]: users, seeds, seeds
    degrees = np.column_stack([np.full(len(pairs), max(1, n_users - 1)), by_seed[..., 2]])
    variance = part.sum(axis=1)
    # Satterthwaite: how sure a part is depends on the mean square that it was taken from, not on what is left of that
    doubt = np.where(part > 0, squares**2 / degrees, 0.0).sum(axis=1)
    freedom = np.divide(variance**2, doubt, out=np.ones(len(pairs)), where=doubt > 0)
    return _Differences(means[one] - means[other], np.sqrt(square), np.sqrt(variance), freedom, n_users)


def p_text(p_value: float) -> str:
    """``p < 0.001``, ``p 0.023``."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"


def holm(family: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p-values (Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(family)
    stepped = np.asarray(family)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()
