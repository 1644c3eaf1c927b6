"""A made-up dataset that trains in milliseconds."""

from pathlib import Path

import numpy as np
import polars as pl

from cpbench.data.dataset import Dataset


def tiny(name: str = "tiny", users: int = 40, items: int = 30, length: int = 12, seed: int = 5) -> Dataset:
    """Walks over a circle of items: the next item is one or two steps on, an hour later."""
    random = np.random.default_rng(seed)
    steps = random.integers(1, 3, size=(users, length))
    walks = (random.integers(0, items, size=(users, 1)) + np.cumsum(steps, axis=1)) % items
    times = 1_000_000 + 3600 * np.arange(users * length).reshape(users, length)
    return Dataset(
        name=name,
        items=walks.astype(np.int32).ravel(),
        times=times.astype(np.int64).ravel(),
        offsets=np.arange(0, users * length + 1, length, dtype=np.int64),
        user_ids=pl.Series("id", [f"u{user}" for user in range(users)]),
        item_table=pl.DataFrame({"id": [f"i{item}" for item in range(items)],
                                 "title": [f"Item {item}" for item in range(items)],
                                 "genre": [[f"g{item % 3}"] for item in range(items)]}),
        manifest={"title": "made up", "licence": "none"},
    )


def place(home: Path, dataset: Dataset) -> None:
    """Put it where cpbench looks for prepared data."""
    dataset.save(home / "prepared" / dataset.name)
