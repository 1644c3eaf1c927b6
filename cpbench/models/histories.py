"""What a model reads: padded batches of sequences, and the ragged histories of requests.

Shapes: B users, L positions, N items.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Events


@dataclass(frozen=True)
class Sequences:
    """A right-padded batch: items, times int64 [B, L]; lengths int64 [B]; padding holds item 0 and the last time.

    Right padding needs no attention mask: under a causal mask no real row ever sees a padded one.
    `request_times` int64 [B] is the time of the request, for models that declare that they use it. With `one_target` a
    training sequence has one target, its last interaction: the others are context.
    """

    items: Tensor
    times: Tensor
    lengths: Tensor
    request_times: Tensor | None = None
    one_target: bool = False

    def to(self, device: torch.device) -> "Sequences":
        request = None if self.request_times is None else self.request_times.to(device)
        return replace(self, items=self.items.to(device), times=self.times.to(device), lengths=self.lengths.to(device),
                       request_times=request)

    def real(self) -> Tensor:
        """Which cells hold a real interaction, bool [B, L]."""
        return torch.arange(self.items.shape[1], device=self.items.device) < self.lengths[:, None]

    def inputs(self) -> "Sequences":
        """The sequences without their last interaction, whose time becomes that of the request: what training reads."""
        last = self.times.gather(1, (self.lengths - 1).clamp(min=0)[:, None])[:, 0]
        return Sequences(self.items[:, :-1], self.times[:, :-1], self.lengths - 1, last, self.one_target)

    def asking(self) -> Tensor:
        """Of `inputs()`: which rows are trained to name what comes next, bool [B, L]."""
        if not self.one_target:
            return self.real()
        return torch.arange(self.items.shape[1], device=self.items.device) == self.lengths[:, None] - 1

    def asked(self) -> Tensor:
        """When each row is asked what comes next, int64 [B, L]: at the time of the next interaction, the last one at
        `request_times`. Where these are not known, the last row is asked at the time of its own interaction."""
        last = (self.lengths - 1).clamp(min=0)[:, None]
        request = self.times.gather(1, last) if self.request_times is None else self.request_times[:, None]
        return torch.cat([self.times[:, 1:], request], 1).scatter(1, last, request)


@dataclass(frozen=True)
class Histories:
    """B ragged histories, int64: row b is ``items[offsets[b]:offsets[b + 1]]``, oldest first; empty rows are legal.

    `users` int64 [B] says whose they are, for models that know the users they were trained on.
    """

    items: Tensor
    times: Tensor
    offsets: Tensor
    request_times: Tensor | None = None
    users: Tensor | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        return self.offsets[1:] - self.offsets[:-1]

    @classmethod
    def of_events(cls, dataset: Dataset, events: Events, first: int = 0, last: int | None = None) -> "Histories":
        """The visible histories of ``events[first:last]``, with the target's time as request time, and their users."""
        start, end = events.start[first:last], events.end[first:last]
        offsets, index = _slices(start, end)
        return cls(
            torch.from_numpy(dataset.items[index].astype(np.int64)),
            torch.from_numpy(dataset.times[index].astype(np.int64)),
            torch.from_numpy(offsets),
            torch.from_numpy(dataset.times[events.target[first:last]].astype(np.int64)),
            torch.from_numpy(events.users[first:last].astype(np.int64)),
        )

    @classmethod
    def of_lists(cls, items: list[list[int]], times: list[list[int]] | None = None) -> "Histories":
        """Histories from plain lists (tests, serving); without times, interactions lie one hour apart."""
        times = times or [[3600 * step for step in range(len(row))] for row in items]
        lengths = [len(row) for row in items]
        return cls(
            torch.tensor([item for row in items for item in row], dtype=torch.int64),
            torch.tensor([time for row in times for time in row], dtype=torch.int64),
            torch.tensor(np.concatenate([[0], np.cumsum(lengths)]), dtype=torch.int64),
        )

    def padded(self, length: int) -> Sequences:
        """The most recent `length` interactions of every row, right-padded to the longest row left (at least 1)."""
        lengths = self.lengths.clamp(max=length)
        width = max(int(lengths.max()) if len(self) else 0, 1)
        position = torch.arange(width)
        last = (self.offsets[1:] - lengths)[:, None] + torch.minimum(position, (lengths[:, None] - 1).clamp(min=0))
        last = last.clamp(max=max(len(self.items) - 1, 0))
        real = position < lengths[:, None]
        if len(self.items) == 0:
            zeros = torch.zeros(len(self), width, dtype=torch.int64)
            return Sequences(zeros, zeros.clone(), lengths, self.request_times)
        return Sequences(self.items[last] * real, self.times[last], lengths, self.request_times)

    def seen(self, n_items: int) -> Tensor:
        """Which items each history holds, bool [B, N]."""
        mask = torch.zeros(len(self), n_items, dtype=torch.bool)
        mask[torch.repeat_interleave(torch.arange(len(self)), self.lengths), self.items] = True
        return mask


def _slices(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets [B + 1] and the flat index of B slices ``start[b]:end[b]``."""
    lengths = end - start
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    index = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - start, lengths)
    return offsets, index
