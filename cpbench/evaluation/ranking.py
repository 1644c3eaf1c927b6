"""Exact ranks over the whole catalogue, in blocks."""

import torch
from torch import Tensor

from cpbench.errors import CpbenchError


def ranks_of(scores: Tensor, targets: Tensor, excluded: Tensor | None = None) -> Tensor:
    """The rank of each target among all items that may be shown: ``1 + #better + #equal / 2``, float64 [B].

    scores [B, N]; targets int64 [B]; excluded bool [B, N] marks items that may not be shown. Equal scores share the
    middle rank, so a constant scorer gains nothing from ties. A target that is itself excluded is a miss: infinity.
    Raises CpbenchError on NaN: a NaN is an error, not a rank.
    """
    if torch.isnan(scores).any():
        raise CpbenchError("the model gave NaN scores; a NaN is an error, not a rank: lower the learning rate")
    answer = scores.gather(1, targets[:, None])  # [B, 1]
    allowed = torch.ones_like(scores, dtype=torch.bool) if excluded is None else ~excluded
    better = ((scores > answer) & allowed).sum(1)
    equal = ((scores == answer) & allowed).sum(1)
    ranks = 1.0 + better.double() + (equal - 1).double() / 2.0
    if excluded is not None:
        ranks = ranks.masked_fill(excluded.gather(1, targets[:, None])[:, 0], torch.inf)
    return ranks
