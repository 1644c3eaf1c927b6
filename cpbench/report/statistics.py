"""What a comparison rests on: seeds and users together, from the stored ranks of every test event.

A model with S seeds gives a value for every seed and user. Both vary and both are samples: other seeds could have been
drawn, other users could have come. So a model's mean has a bootstrap interval in which both are drawn again, and a
difference between two models a t test in which both count (crossed random effects: Baayen, Davidson & Bates 2008; Welch
and Satterthwaite's degrees of freedom).
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t; `scipy.stats` would take a second more to import

CONFIDENCE = 0.95
RESAMPLES = 1000
HELD = 2**24  # numbers in the resamples that are held at once: 128 MiB
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
        residual = self.values - by_seed[:, None]
        residual -= self.by_user
        residual += self.values.mean()
        noise = float(np.square(residual, out=residual).sum() / ((n_seeds - 1) * (n_users - 1)))
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
    n_users = samples[0].values.shape[1]
    drawn, generator = _drawn_users(n_users, seed)
    generator = deepcopy(generator)
    stacked = np.concatenate([sample.values for sample in samples]).T
    if n_users < 2**24 and ((stacked == 0) | (stacked == 1)).all():
        stacked = stacked.astype(np.float32)  # which counts hits as exactly, in half the time
    at_once = max(1, HELD // n_users)
    sums = np.concatenate([part.astype(stacked.dtype) @ stacked
                           for part in np.split(drawn, range(at_once, RESAMPLES, at_once))])
    means = np.asfortranarray(sums, np.float64) / n_users  # each model's lie together
    each, own_means, start = np.arange(RESAMPLES)[:, None], np.empty((RESAMPLES, len(samples))), 0
    for place, sample in enumerate(samples):
        n_seeds = len(sample.values)
        own = means[:, start:start + n_seeds]
        start += n_seeds
        if n_seeds > 1:
            own = own[each, generator.integers(n_seeds, size=(RESAMPLES, n_seeds - 1))]
        own_means[:, place] = own.mean(axis=1)
    low, high = np.quantile(own_means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0).tolist()
    return list(zip(low, high, strict=True))


@lru_cache(maxsize=1)  # the metrics of a table share their users
def _drawn_users(n_users: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """How often every resample has every user, uint8 [RESAMPLES, U], and the generator as that leaves it."""
    generator = np.random.default_rng(seed)
    drawn = np.empty((RESAMPLES, n_users), dtype=np.uint8)
    for own in drawn:
        own[:] = np.bincount(generator.integers(n_users, size=n_users), minlength=n_users)
    return drawn, generator


def compare(one: Sample, other: Sample) -> Comparison:
    """`one` less `other`, paired by user; their seeds have nothing in common and are not paired."""
    return comparisons([one, other], np.array([[0, 1]]))[0]


def comparisons(samples: Sequence[Sample], pairs: np.ndarray) -> list[Comparison]:
    """`compare` of many pairs, int [P, 2] of places in `samples`, all over the same U users."""
    if not len(pairs):
        return []
    found = _differences(samples, pairs)
    reach, bound = (found.error * stdtrit(found.freedom, level) for level in ((1 + CONFIDENCE) / 2, CONFIDENCE))
    columns = (found.mean, found.spread, reach, bound, found.p_value())
    return [Comparison(
        mean=mean,
        interval=(mean - reach, mean + reach),
        p_value=p_value,
        effect=mean / spread if spread else 0.0 if mean == 0 else None,
        bound=abs(mean) + bound,
        covers_seeds=samples[one].knows_its_seeds and samples[other].knows_its_seeds,
    ) for (one, other), mean, spread, reach, bound, p_value
        in zip(pairs.tolist(), *(column.tolist() for column in columns), strict=True)]


def p_values(samples: Sequence[Sample], pairs: np.ndarray) -> np.ndarray:
    """Those of `comparisons`, uncorrected, [P]."""
    return _differences(samples, pairs).p_value() if len(pairs) else np.empty(0)


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


def _differences(samples: Sequence[Sample], pairs: np.ndarray) -> _Differences:
    """There is at least one pair."""
    n_users = samples[0].values.shape[1]
    one, other = pairs.T
    by_user = np.stack([sample.by_user for sample in samples])
    means = by_user.mean(axis=1)
    # one product of matrices for all pairs: the variance of a difference is that of both, less twice the covariance
    covariance = np.cov(by_user) if n_users > 1 else np.zeros((len(samples), len(samples)))
    covariance = covariance.reshape(len(samples), len(samples))
    both = covariance.diagonal()[pairs].sum(axis=1)
    square = both - 2 * covariance[one, other]
    square[square < ROUNDING * both] = 0.0
    users = square / n_users
    by_seed = np.array([(*sample.seed_variance, max(1, len(sample.values) - 1)) for sample in samples])[pairs]
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


def holm(family: Sequence[float] | np.ndarray) -> list[float]:
    """Holm's step-down correction of a family of p-values (Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(family)
    stepped = np.asarray(family)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()
