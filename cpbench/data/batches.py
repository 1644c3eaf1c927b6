"""Training batches: slices of the flat arrays, sequences of similar length together."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from cpbench.data.protocol import Split
from cpbench.models.base import Sequences

POOL = 16  # batches that are sorted by length together: enough to cut padding, few enough to keep batches random


class TrainingSequences:
    """`length` + 1 training interactions of every user: `length` inputs, each with its next item as target.

    Of a longer sequence, an epoch takes the last window, or with `random_windows` one drawn anew, so that old
    interactions train, too. Users with fewer than two training interactions have no target and are left out.
    """

    def __init__(self, split: Split, length: int, batch_size: int, random_windows: bool = False) -> None:
        dataset = split.dataset
        start = np.maximum(dataset.offsets[:-1], split.train_end - (length + 1))
        trainable = split.train_end - start >= 2
        self.random_windows = random_windows
        self._hold(split, start[trainable], (split.train_end - start)[trainable], batch_size)
        self.earlier = (start - dataset.offsets[:-1])[trainable]

    def _hold(self, split: Split, start: np.ndarray, lengths: np.ndarray, batch_size: int) -> None:
        self.start, self.lengths, self.batch_size = start, lengths, batch_size
        self.items, self.times = split.dataset.items, split.dataset.times

    def __len__(self) -> int:
        """Batches in one epoch."""
        return -(-len(self.start) // self.batch_size)

    @property
    def n_targets(self) -> int:
        """Next-item targets in one epoch."""
        return int((self.lengths - 1).sum())

    def epoch(self, generator: np.random.Generator) -> Iterator[Sequences]:
        """One pass in an order drawn from `generator`."""
        shift = generator.integers(0, self.earlier, endpoint=True) if self.random_windows else 0 * self.earlier
        order = generator.permutation(len(self.start))
        pool = POOL * self.batch_size
        batches: list[np.ndarray] = []
        for first in range(0, len(order), pool):
            part = order[first:first + pool]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[at:at + self.batch_size] for at in range(0, len(part), self.batch_size)]
        for position in generator.permutation(len(batches)):
            yield self.batch(batches[position], shift)

    def batch(self, rows: np.ndarray, shift: np.ndarray) -> Sequences:
        """The sequences `rows`, each begun `shift` interactions earlier, right-padded with item 0 and the last time."""
        lengths = self.lengths[rows]
        position = np.arange(lengths.max())
        index = (self.start - shift)[rows, None] + np.minimum(position, lengths[:, None] - 1)
        items = self.items[index].astype(np.int64) * (position < lengths[:, None])
        return Sequences(torch.from_numpy(items), torch.from_numpy(self.times[index].astype(np.int64)),
                         torch.from_numpy(lengths))


class TrainingPrefixes(TrainingSequences):
    """Every training interaction but a user's first as the one target of a sequence, after up to `length` others.

    RecBole's and BSARec's rows. Every target sees what a request would see; windows show most of theirs less.
    """

    def __init__(self, split: Split, length: int, batch_size: int) -> None:
        first, end = split.dataset.offsets[:-1], split.train_end
        counts = np.maximum(end - first - 1, 0)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # targets before it, of its user
        before = np.minimum(nth + 1, length)
        self._hold(split, np.repeat(first, counts) + nth + 1 - before, before + 1, batch_size)
        self.random_windows, self.earlier = False, np.zeros_like(before)

    @property
    def n_targets(self) -> int:
        return len(self.start)

    def batch(self, rows: np.ndarray, shift: np.ndarray) -> Sequences:
        return replace(super().batch(rows, shift), one_target=True)
