"""Tiny made-up datasets on which the right answer is known: for checking models, never for comparing them."""

import numpy as np
import polars as pl

from cpbench.data.dataset import Dataset

START = 1_600_000_000  # seconds since 1970
HOUR = 3_600


def from_sequences(sequences: list[list[int]], n_items: int, times: list[list[int]] | None = None,
                   genres: list[list[str]] | None = None) -> Dataset:
    """A Dataset of these item sequences, one hour apart unless `times` (seconds, sorted) are given."""
    lengths = [len(sequence) for sequence in sequences]
    times = times or [[START + HOUR * step for step in range(length)] for length in lengths]
    table = {"id": [f"item {item}" for item in range(n_items)], "title": [f"Title {item}" for item in range(n_items)]}
    items = pl.DataFrame(table)
    if genres is not None:
        items = items.with_columns(pl.Series("genre", genres, dtype=pl.List(pl.String)))
    flat = np.array([item for sequence in sequences for item in sequence], dtype=np.int32)
    clock = np.array([time for row in times for time in row], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    for array in (flat, clock, offsets):
        array.setflags(write=False)  # as those of a loaded dataset
    return Dataset(
        name="synthetic",
        items=flat,
        times=clock,
        offsets=offsets,
        user_ids=pl.Series("id", [f"user {user}" for user in range(len(sequences))], dtype=pl.String),
        item_table=items,
    )


def checkerboard(size: int = 40, length: int = 12, seed: int = 0) -> Dataset:
    """Even users like even items, odd users odd ones (the test data of the `implicit` library).

    `size` users and items; user u has `length` items of its own parity in random order, never item u itself.
    """
    random = np.random.default_rng(seed)
    liked = [[item for item in range(user % 2, size, 2) if item != user] for user in range(size)]
    sequences = [random.permutation(items)[:length].tolist() for items in liked]
    return from_sequences(sequences, size, genres=[["even" if item % 2 == 0 else "odd"] for item in range(size)])


def random_dataset(n_users: int = 40, n_items: int = 30, seed: int = 0) -> Dataset:
    """Nothing to learn, everything to trip over: 1 to 20 interactions a user, repetitions, ties in time, items that
    nobody has (the last three), items with several genres and with none."""
    random = np.random.default_rng(seed)
    lengths = [1, 2, 3, *random.integers(3, 21, size=n_users - 3).tolist()]
    sequences = [random.integers(0, n_items - 3, size=length).tolist() for length in lengths]
    gaps = [random.choice([0, 0, 30, HOUR, 30 * 24 * HOUR], size=length) for length in lengths]
    times = [(START + random.integers(0, HOUR) + np.cumsum(gap)).tolist() for gap in gaps]
    names = ["folk", "jazz", "rock"]
    genres = [[name for name in names if random.random() < 0.4] for _ in range(n_items)]
    return from_sequences(sequences, n_items, times, genres)
