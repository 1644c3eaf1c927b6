"""Protocols: which interactions are training, validation and test, and what a model may see at each test event.

Every history is a prefix of one user's time-sorted sequence, so an event needs only three integers:
where the history starts, where the visible part ends, and which interaction is the target.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cpbench.data.dataset import Dataset
from cpbench.errors import UsageError


class Protocol(BaseModel):
    """How a dataset is split and what is visible at an event (design: docs/protocol.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Literal["leave-one-out", "temporal"] = "leave-one-out"
    serving_lag: int = Field(0, ge=0)
    """Seconds: at an event at time t, interactions in [t - lag, t] are hidden from every model. 0 hides nothing."""
    exclude_seen: bool = True
    """Items of the visible history are removed from the ranking."""
    horizon: int = Field(1, ge=1)
    """Leave-one-out: the last H interactions are test, and the list made before the first is scored against each."""
    condition: str | None = None
    """Item attribute: every list is given one of its values that the true next item carries. None asks for nothing."""
    targets_per_user: int = Field(1, ge=1)
    """Temporal split: test events are each user's first K interactions after the cut."""
    holdout: float = Field(0.1, gt=0, lt=0.5)
    """Temporal split: share of all interactions after the test cut, and again between the two cuts."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.horizon > 1 and self.split != "leave-one-out":
            raise ValueError("horizon: only leave-one-out knows one")
        return self


@dataclass(frozen=True)
class Events:
    """E evaluation events. All arrays are int64 [E] and index the flat arrays of the Dataset.

    The visible history of event e is ``items[start[e]:end[e]]``; its answer is ``items[target[e]]``.
    """

    users: np.ndarray
    start: np.ndarray
    end: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Split:
    """Training prefix of every user, and the validation and test events.

    User u trains on ``items[offsets[u]:train_end[u]]``. `notes` counts what a reader must know
    (items unseen in training, events without history, targets seen before).
    """

    dataset: Dataset
    protocol: Protocol
    train_end: np.ndarray  # int64 [B]
    valid: Events
    test: Events

    @property
    def train_counts(self) -> np.ndarray:
        """How often each item occurs in training, int64 [N]."""
        return np.bincount(self.dataset.items[self.train_mask()], minlength=self.dataset.n_items)

    def train_mask(self) -> np.ndarray:
        """Which interactions are training, bool [M]."""
        position = np.arange(self.dataset.n_interactions)
        return position < self.train_end[self.dataset.user_of_interaction()]

    def notes(self, events: Events) -> dict[str, float]:
        """Facts about `events` that belong beside every metric: counts and shares."""
        targets = self.dataset.items[events.target]
        seen = np.array([target in self.dataset.items[start:end]
                         for target, start, end in zip(targets, events.start, events.end, strict=True)], dtype=bool)
        untrained_user = self.train_end[events.users] == self.dataset.offsets[events.users]
        total = max(len(events), 1)
        return {
            "events": len(events),
            "empty_history_share": float((events.end == events.start).sum() / total),
            "target_seen_before_share": float(seen.sum() / total),
            "targets_unseen_in_training": int((self.train_counts[targets] == 0).sum()),
            "users_unseen_in_training": int(untrained_user.sum()),
        }


def split(dataset: Dataset, protocol: Protocol) -> Split:
    """Apply `protocol` to `dataset`. Raises UsageError when nothing is left to train on, to validate or to test."""
    made = _leave_one_out(dataset, protocol) if protocol.split == "leave-one-out" else _temporal(dataset, protocol)
    for array in (made.train_end, *vars(made.valid).values(), *vars(made.test).values()):
        array.setflags(write=False)  # one split serves every model of a command
    trained = np.count_nonzero(made.train_end > dataset.offsets[:-1])
    for part, count in (("training interaction", trained), ("validation event", len(made.valid)),
                        ("test event", len(made.test))):
        if not count:
            needed = (f"users with at least {protocol.horizon + 2} interactions" if protocol.split == "leave-one-out"
                      else f"interactions before, between and after the {1 - 2 * protocol.holdout:.0%} and "
                           f"{1 - protocol.holdout:.0%} quantiles of its times")
            raise UsageError(f"dataset {dataset.name!r} has no {part} under {protocol.split}: it needs {needed}")
    return made


def _events(dataset: Dataset, protocol: Protocol, users: np.ndarray, target: np.ndarray) -> Events:
    start = dataset.offsets[users]
    end = target.copy()
    if protocol.serving_lag:
        # visible: times < t - lag; times are sorted inside a user, so the visible part is a prefix
        for index, (first, last) in enumerate(zip(start, target, strict=True)):
            limit = dataset.times[last] - protocol.serving_lag
            end[index] = first + np.searchsorted(dataset.times[first:last], limit, side="left")
    return Events(users, start, end, target)


def _leave_one_out(dataset: Dataset, protocol: Protocol) -> Split:
    lengths, held = np.diff(dataset.offsets), protocol.horizon
    first_test = dataset.offsets[1:] - held
    long_enough = lengths >= held + 2  # shorter users train, they cannot be tested
    evaluated = np.flatnonzero(long_enough)
    train_end = np.where(long_enough, first_test - 1, dataset.offsets[1:])
    valid = _events(dataset, protocol, evaluated, first_test[evaluated] - 1)
    test = _events(dataset, protocol, evaluated, first_test[evaluated])
    return Split(dataset, protocol, train_end, valid, test)


def _temporal(dataset: Dataset, protocol: Protocol) -> Split:
    cuts = np.quantile(dataset.times, [1 - 2 * protocol.holdout, 1 - protocol.holdout], method="higher")
    starts, ends = dataset.offsets[:-1], dataset.offsets[1:]
    bounds = np.empty((2, dataset.n_users), dtype=np.int64)  # first interaction at or after each cut
    for user, (first, last) in enumerate(zip(starts, ends, strict=True)):
        bounds[:, user] = first + np.searchsorted(dataset.times[first:last], cuts, side="left")

    def first_targets(begin: np.ndarray, end: np.ndarray) -> Events:
        count = np.minimum(end - begin, protocol.targets_per_user)
        users = np.repeat(np.arange(dataset.n_users), count)
        within = np.arange(len(users)) - np.repeat(np.cumsum(count) - count, count)
        return _events(dataset, protocol, users, begin[users] + within)

    return Split(dataset, protocol, bounds[0], first_targets(bounds[0], bounds[1]), first_targets(bounds[1], ends))
