"""Training batches: slices of the flat arrays, sequences of similar length together.

Which sequences share a *step* is another matter: see `TrainingSequences`.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from cpbench.data.protocol import Split
from cpbench.models.base import Sequences

POOL = 16  # batches that are sorted by length together: enough to cut padding, few enough to keep batches varied


class TrainingSequences:
    """`length` + 1 training interactions of every user: `length` inputs, each with its next item as target.

    Of a longer sequence, an epoch takes the last window, or with `random_windows` one drawn anew, so that old
    interactions train, too. Users with fewer than two training interactions have no target and are left out.

    Without `length_groups` a step is one batch, of sequences of similar length: long ones and short ones take turns.
    With them a step draws its sequences at random, whatever their length, and computes them in so many batches of
    similar length, about equally many interactions each.
    """

    def __init__(self, split: Split, length: int, batch_size: int, random_windows: bool = False,
                 length_groups: int = 0) -> None:
        dataset = split.dataset
        start = np.maximum(dataset.offsets[:-1], split.train_end - (length + 1))
        trainable = split.train_end - start >= 2
        self.random_windows = random_windows
        self._hold(split, start[trainable], (split.train_end - start)[trainable], batch_size, length_groups)
        self.earlier = (start - dataset.offsets[:-1])[trainable]

    def _hold(self, split: Split, start: np.ndarray, lengths: np.ndarray, batch_size: int, length_groups: int) -> None:
        self.start, self.lengths = start, lengths
        self.batch_size, self.length_groups = batch_size, length_groups
        self.items, self.times = split.dataset.items, split.dataset.times

    def __len__(self) -> int:
        """Steps in one epoch."""
        return -(-len(self.start) // self.batch_size)

    @property
    def n_sequences(self) -> int:
        """Sequences in one epoch."""
        return len(self.start)

    @property
    def n_targets(self) -> int:
        """Next-item targets in one epoch."""
        return int((self.lengths - 1).sum())

    def epoch(self, generator: np.random.Generator) -> Iterator[Sequences]:
        """The batches of one pass, in an order drawn from `generator`."""
        for step in self.steps(generator):
            yield from step

    def steps(self, generator: np.random.Generator) -> Iterator[list[Sequences]]:
        """The steps of one pass, in an order drawn from `generator`: batches whose gradients are to be added."""
        shift = generator.integers(0, self.earlier, endpoint=True) if self.random_windows else 0 * self.earlier
        order = generator.permutation(len(self.start))
        if self.length_groups:
            for first in range(0, len(order), self.batch_size):
                yield [self.batch(rows, shift) for rows in self._groups(order[first:first + self.batch_size])]
            return
        pool = POOL * self.batch_size
        batches: list[np.ndarray] = []
        for first in range(0, len(order), pool):
            part = self._by_length(order[first:first + pool])
            batches += [part[at:at + self.batch_size] for at in range(0, len(part), self.batch_size)]
        for position in generator.permutation(len(batches)):
            yield [self.batch(batches[position], shift)]

    def _by_length(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(self.lengths[rows], kind="stable")]

    def _groups(self, rows: np.ndarray) -> list[np.ndarray]:
        """`rows` by length, cut into at most `length_groups` parts of about equally many interactions."""
        rows = self._by_length(rows)
        before = np.cumsum(self.lengths[rows]) - self.lengths[rows]
        group = before * self.length_groups // self.lengths[rows].sum()
        return np.split(rows, np.flatnonzero(np.diff(group)) + 1)

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

    def __init__(self, split: Split, length: int, batch_size: int, length_groups: int = 0) -> None:
        first, end = split.dataset.offsets[:-1], split.train_end
        counts = np.maximum(end - first - 1, 0)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # targets before it, of its user
        before = np.minimum(nth + 1, length)
        self._hold(split, np.repeat(first, counts) + nth + 1 - before, before + 1, batch_size, length_groups)
        self.random_windows, self.earlier = False, np.zeros_like(before)

    @property
    def n_targets(self) -> int:
        return len(self.start)

    def batch(self, rows: np.ndarray, shift: np.ndarray) -> Sequences:
        return replace(super().batch(rows, shift), one_target=True)
