"""Random datasets with ragged lengths, bursts of equal times, and a multi-valued genre."""

from itertools import pairwise

import numpy as np
import polars as pl

from cpbench.data.dataset import Dataset


def dataset(lengths: list[int], n_items: int = 20, seed: int = 0, step: int = 300) -> Dataset:
    """Users with `lengths` interactions; consecutive times differ by 0, 1 or several `step` seconds."""
    random = np.random.default_rng(seed)
    total = sum(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    gaps = random.choice([0, 1, 5], size=total) * step
    times = np.concatenate([np.cumsum(gaps[first:last]) + 1_000_000 for first, last in pairwise(offsets)])
    genres = [[f"g{value}" for value in sorted(set(random.integers(0, 4, size=random.integers(0, 3))))]
              for _ in range(n_items)]
    return Dataset("random", random.integers(0, n_items, size=total).astype(np.int32), times.astype(np.int64), offsets,
                   pl.Series("id", [f"u{user}" for user in range(len(lengths))]),
                   pl.DataFrame({"id": [f"i{item}" for item in range(n_items)],
                                 "title": [f"Item {item}" for item in range(n_items)],
                                 "genre": pl.Series(genres, dtype=pl.List(pl.String))}))


def ragged(users: int, seed: int = 0, shortest: int = 3, longest: int = 14, n_items: int = 20) -> Dataset:
    """A dataset of `users` random lengths."""
    lengths = np.random.default_rng(seed).integers(shortest, longest + 1, size=users)
    return dataset([int(length) for length in lengths], n_items, seed)
