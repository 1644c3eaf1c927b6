"""Conditional evaluation: an event's condition is a value that its true next item carries (Climber-Pilot, Table 4).

`how` a condition is obeyed:

    none          the list is made without it: what the data give away by themselves
    model         the model's own way (`score_given`)
    post-filter   retrieve the 50 best, drop those that do not match: lists may be short
    hard-filter   search only among matching items
    model+filter  the model's own way, searched only among matching items
"""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from cpbench.data.protocol import Events, Split
from cpbench.errors import UsageError
from cpbench.models.base import Histories, Recommender
from cpbench.models.conditions import Conditions

How = Literal["none", "model", "post-filter", "hard-filter", "model+filter"]
HOWS: tuple[str, ...] = get_args(How)
CUTOFFS = (10, 20, 50)
DEPTH = max(CUTOFFS)
"""What the post-filter retrieves."""


@runtime_checkable
class Obedient(Protocol):
    """A recommender that takes conditions."""

    def score_given(self, histories: Histories, values: Tensor, times: Tensor | None = None) -> Tensor:
        """Scores of the catalogue under one condition a user, float32 [B, N]; values, times int64 [B]."""
        ...


@dataclass(frozen=True)
class Given:
    """The conditions of some events: `values` int64 [E], one of the values that each event's target carries."""

    conditions: Conditions
    values: Tensor
    how: How

    def obeyed(self, how: How) -> "Given":
        return replace(self, how=how)

    def carriers(self, histories: Histories, events: np.ndarray) -> Tensor:
        """Which items carry the condition of each event, bool [B, N]."""
        assert histories.request_times is not None
        return self.conditions.carriers(self.values[events], histories.request_times)

    def retrieve(self, model: Recommender, histories: Histories, events: np.ndarray,
                 excluded: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Scores [B, N] and what may not be shown [B, N], given what the protocol excludes anyway."""
        if self.how in ("model", "model+filter"):
            if not isinstance(model, Obedient):
                raise UsageError(f"{model.name} takes no condition; use post-filter or hard-filter")
            scores = model.score_given(histories, self.values[events], histories.request_times).cpu()
        else:
            scores = model.score(histories).cpu()
        if self.how in ("none", "model"):
            return scores, excluded
        hidden = ~self.carriers(histories, events)
        if self.how == "post-filter":
            shown = scores if excluded is None else scores.masked_fill(excluded, -torch.inf)
            hidden = hidden | ~_first(shown, DEPTH)
        return scores, hidden if excluded is None else hidden | excluded

    def generate(self, model: Recommender, histories: Histories, k: int, events: np.ndarray,
                 excluded: Tensor | None) -> tuple[Tensor, Tensor]:
        """`retrieve` for a model with a beam: lists int64 [B, k] and their scores, -inf where there is no item."""
        if self.how in ("model", "model+filter"):
            raise UsageError(f"{model.name} is ranked by its beam, which takes no condition; use post-filter or "
                             "hard-filter")
        carriers = self.carriers(histories, events)
        if self.how == "hard-filter":
            return model.search(histories, k, ~carriers if excluded is None else ~carriers | excluded)
        ids, scores = model.search(histories, k, excluded)
        if self.how == "none":
            return ids, scores
        dropped = ~carriers.gather(1, ids) | (torch.arange(k) >= DEPTH)
        order = torch.sort(scores.masked_fill(dropped, -torch.inf), dim=1, descending=True, stable=True)
        return ids.gather(1, order.indices), order.values


def _first(scores: Tensor, k: int) -> Tensor:
    """The k best of each row, bool [B, N]; ties go to the smaller id, as in `Recommender.recommend`."""
    last = scores.topk(min(k, scores.shape[1]), dim=1).values[:, -1:]
    better, tied = scores > last, scores == last
    return better | (tied & (tied.cumsum(1) <= k - better.sum(1, keepdim=True)))


def with_conditions(split: Split, events: Events, conditions: Conditions, seed: int = 0) -> tuple[Events, Given]:
    """The events whose target carries a value at all, and one of its values each, drawn by `seed` alone.

    Raises UsageError when none does.
    """
    targets = torch.from_numpy(split.dataset.items[events.target].astype(np.int64))
    times = torch.from_numpy(split.dataset.times[events.target].astype(np.int64))
    values, has = conditions.draw(targets, times, torch.Generator().manual_seed(seed))
    kept = np.flatnonzero(has.numpy())
    if not len(kept):
        raise UsageError(f"no test event's next item carries a value of {conditions.name!r}")
    part = Events(events.users[kept], events.start[kept], events.end[kept], events.target[kept])
    return part, Given(conditions, values[kept], "none")


def consistency(matches: np.ndarray) -> dict[str, float]:
    """CC@K: the share of the first K places that hold an item carrying the condition; matches bool [E, >= K].

    A place that a filter left empty does not match.
    """
    return {f"CC@{k}": float(matches[:, :k].sum(1).mean() / k) for k in CUTOFFS if k <= matches.shape[1]}
