"""Training batches: slices of the flat arrays, sequences of similar length together."""

from collections.abc import Iterator

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
        self.start = start[trainable]
        self.lengths = (split.train_end - start)[trainable]
        self.earlier = (start - dataset.offsets[:-1])[trainable]
        self.random_windows = random_windows
        self.items = dataset.items
        self.times = dataset.times
        self.batch_size = batch_size

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
