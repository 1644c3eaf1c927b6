"""How often the report's test finds what is not there, and how often its intervals hold the truth: simulated.

`.venv/bin/python tests/bench/statistics_levels.py` (ten minutes of one core). Values are normal: a user's taste, which
all models share, a model's own way with a user, what a seed does to all users, and what it does to each. `r` is the
standard error that seeds give a model's mean, over the one that users give the difference of two models.
"""

from itertools import combinations

import numpy as np

from cpbench.report.statistics import Sample, compare, holm, intervals, p_values

USERS = 60
MIXED = 0.25  # variance of what a seed does to each user
GENERATOR = np.random.default_rng(1)


def model(n_seeds: int, r: float, taste: np.ndarray) -> Sample:
    """A model of `n_seeds` seeds; 0 is one that counts. Of two, the users' differences have variance 1."""
    seeds = max(n_seeds, 1)
    own = GENERATOR.normal(scale=(0.5 - MIXED / seeds)**0.5, size=(1, USERS))
    mixed = GENERATOR.normal(scale=MIXED**0.5, size=(seeds, USERS))
    between = GENERATOR.normal(scale=r * (n_seeds / USERS)**0.5, size=(seeds, 1))
    return Sample(taste + own + mixed + between, deterministic=n_seeds == 0)


def tastes() -> np.ndarray:
    return GENERATOR.normal(size=USERS)


def print_levels(draws: int = 12_000) -> None:
    print(f"p of two equal models below .05, below .01, below .0005 (in multiples of it); {draws:,} draws")
    for first, second in ((3, 3), (5, 5), (2, 2), (3, 0), (5, 0), (2, 0)):
        for r in (0.0, 0.5, 1.0, 1.5, 3.0):
            found = np.array([compare(model(first, r, taste), model(second, r, taste)).p_value
                              for taste in (tastes() for _ in range(draws))])
            often, seldom, rarely = (float((found < level).mean()) for level in (0.05, 0.01, 0.0005))
            print(f"  {first} seeds, {second or 'counting'}, r {r}: {often:.3f} {seldom:.3f} x{rarely / 0.0005:.1f}")


def print_coverage(draws: int = 1_500) -> None:
    print(f"95 % bootstrap intervals that hold the mean; {draws:,} draws; s: how seeds vary, over the users' error")
    for n_seeds in (2, 3, 5):
        for s in (0.0, 1.0, 2.0, 5.0):
            held = 0
            for draw in range(draws):
                values = (GENERATOR.normal(size=USERS) + s * GENERATOR.normal(scale=USERS**-0.5, size=(n_seeds, 1))
                          + GENERATOR.normal(scale=MIXED**0.5, size=(n_seeds, USERS)))
                (low, high), = intervals([Sample(values)], seed=draw)
                held += low <= 0 <= high
            print(f"  {n_seeds} seeds, s {s}: {held / draws:.3f}")


def print_families(tables: int = 1_000) -> None:
    print(f"{tables:,} tables of equal models: with a † against the best if p is corrected over the other rows, over "
          "all pairs; intervals of the differences to the best that hold 0")
    for rows, n_seeds, r in ((10, 1, 0.0), (20, 1, 0.0), *((14, 3, r) for r in (0.0, 0.5, 1.0, 2.0)), (14, 5, 2.0)):
        alone = pairs = 0
        held = []
        for _ in range(tables):
            taste = tastes()
            samples = sorted((model(n_seeds, r, taste) for _ in range(rows)), key=lambda each: -each.mean)
            places = np.array(list(combinations(range(rows), 2)))  # those with the best first
            alone += min(holm(p_values(samples, places[:rows - 1]))) < 0.05
            pairs += min(holm(p_values(samples, places))[:rows - 1]) < 0.05
            found = [compare(each, samples[0]).interval for each in samples[1:]]
            held += [low <= 0 <= high for low, high in found]
        print(f"  {rows} rows, {n_seeds} seeds, r {r}: {alone / tables:.3f} {pairs / tables:.3f} {np.mean(held):.2f}")


if __name__ == "__main__":
    print_levels()
    print_coverage()
    print_families()
