"""Exact ranks over the whole catalogue, in blocks."""

import torch
from torch import Tensor

from cpbench.errors import CpbenchError

ROWS = 64  # compared at a time on a processor: their scores stay in its cache


def ranks_of(scores: Tensor, targets: Tensor, excluded: Tensor | None = None) -> Tensor:
    """The rank of each target among all items that may be shown: ``1 + #better + #equal / 2``, float64 [B].

    scores [B, N]; targets int64 [B]; excluded bool [B, N] marks items that may not be shown. Equal scores share the
    middle rank, so a constant scorer gains nothing from ties. A target that is itself excluded is a miss: infinity.
    All of them on one device, and so the ranks. Raises CpbenchError on NaN: a NaN is an error, not a rank.
    """
    rows = ROWS if scores.device.type == "cpu" else max(len(scores), 1)
    ranks = [_ranks_of_rows(scores[first:first + rows], targets[first:first + rows, None],
                            None if excluded is None else excluded[first:first + rows])
             for first in range(0, len(scores), rows)]
    return torch.cat(ranks) if ranks else torch.empty(0, dtype=torch.float64, device=scores.device)


def ranks_in(lists: Tensor, scores: Tensor, targets: Tensor) -> Tensor:
    """The rank of each target in its list, ``1 + #better + #equal / 2``, float64 [B]: infinity where it is not there.

    For models that generate: lists int64 [B, K] of distinct items; scores [B, K], -inf marks what may not be shown;
    targets int64 [B]. What is equal beyond the end of the list is unknown, and not counted. Raises CpbenchError on NaN.
    """
    if torch.isnan(scores).any():
        raise CpbenchError("the model gave NaN scores; a NaN is an error, not a rank: lower the learning rate")
    found = (lists == targets[:, None]) & ~torch.isneginf(scores)
    answer = torch.where(found, scores, -torch.inf).amax(1, keepdim=True)
    better, equal = _count(scores > answer), _count(scores == answer)
    return torch.where(found.any(1), 1.0 + better + (equal - 1) / 2.0, torch.inf)


def _ranks_of_rows(scores: Tensor, target: Tensor, excluded: Tensor | None) -> Tensor:
    if torch.isnan(scores.sum()) and torch.isnan(scores).any():  # one sum is cheaper than a test of every score
        raise CpbenchError("the model gave NaN scores; a NaN is an error, not a rank: lower the learning rate")
    if excluded is not None:
        scores = scores.masked_fill(excluded, -torch.inf)
    answer = scores.gather(1, target)
    better = _count(scores > answer)
    at_least = _count(scores >= answer)
    if excluded is not None and torch.isneginf(answer).any():  # what may not be shown does not tie with minus infinity
        at_least -= torch.isneginf(answer)[:, 0] * _count(excluded)
    ranks = 1.0 + better + (at_least - better - 1) / 2.0
    if excluded is not None:
        ranks = ranks.masked_fill(excluded.gather(1, target)[:, 0], torch.inf)
    return ranks


def _count(marks: Tensor) -> Tensor:
    """True cells of each row, float64 (summing booleans directly converts each of them to 64 bits first)."""
    return marks.view(torch.uint8).sum(1, dtype=torch.int32).double()
