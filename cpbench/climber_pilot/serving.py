"""Serving (section 3.4): a user's instructions are precomputed, all of them share one pass of the encoder, the union of
their lists goes on.

Everything per user is cheap but the encoder: P conditions are P rows of the branch layer and P searches.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cpbench.climber_pilot.instructed import InstructedPilot
from cpbench.models.base import Histories
from cpbench.models.conditions import Conditions

NEIGHBOURS, EFFORT = 32, 128
"""Of the approximate index: edges of an item, and candidates looked at while building and searching."""


@dataclass(frozen=True)
class Instructions:
    """Each user's P most frequent condition values: values int64 [B, P], most frequent first; known bool [B, P]."""

    values: Tensor
    known: Tensor


def instructions(conditions: Conditions, histories: Histories, count: int, window: int = 50) -> Instructions:
    """Recall instructions: the values that occur most often among the last `window` interactions of each user.

    Of equally frequent values the more recent one comes first. A history with fewer values leaves places unknown.
    """
    recent = histories.padded(window)
    length = recent.items.shape[1]
    carried = conditions.carries(recent.items[:, :, None], torch.arange(len(conditions)),
                                 recent.times[:, :, None]) & recent.real()[:, :, None]  # [B, L, V]
    frequency = carried.sum(1).double()
    newest = (carried * torch.arange(1, length + 1)[:, None]).amax(1)
    order = torch.sort(frequency + newest / (length + 1), dim=1, descending=True, stable=True).indices[:, :count]
    return Instructions(order, frequency.gather(1, order) > 0)


def recommend_given(model: InstructedPilot, histories: Histories, asked: Instructions, k: int,
                    excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The best k items under each instruction: ids int64 [B, P, k] and scores [B, P, k]; unknown ones score -inf.

    `excluded` bool [B, N] may not be shown.
    """
    model.eval()
    with torch.inference_mode():
        batch = histories.padded(model.max_length).to(model.device)
        times = histories.request_times if histories.request_times is not None else recent_times(histories)
        items = model.item_matrix()
        queries = model.instructed_queries(batch, asked.values.to(model.device),
                                           times.to(model.device)[:, None].expand_as(asked.values), items)
        every = (queries @ items.T).float().cpu()  # [B, P, N]
        if excluded is not None:
            every = every.masked_fill(excluded[:, None], -torch.inf)
        scores, ids = every.topk(k, dim=2)
    return ids, scores.masked_fill(~asked.known[:, :, None], -torch.inf)


def union(ids: Tensor, scores: Tensor, k: int) -> Tensor:
    """One list of k distinct items from P lists, [B, P, K] -> int64 [B, k]: the lists take turns, best first.

    Turns, not scores, because the paper gives every instruction its share. Places that nothing fills hold -1.
    """
    batch, lists, length = ids.shape
    turn = torch.arange(length)[None, :] * lists + torch.arange(lists)[:, None]  # when place j of list p has its turn
    turn = torch.where(torch.isneginf(scores), torch.iinfo(torch.int64).max, turn.expand(batch, -1, -1)).flatten(1)
    order = torch.sort(turn, dim=1, stable=True).indices
    flat, usable = ids.flatten(1).gather(1, order).numpy(), (turn.gather(1, order) < lists * length).numpy()
    merged = np.full((batch, k), -1, dtype=np.int64)
    for row in range(batch):
        distinct = list(dict.fromkeys(flat[row][usable[row]].tolist()))[:k]
        merged[row, :len(distinct)] = distinct
    return torch.from_numpy(merged)


def filled(merged: Tensor, general: Tensor) -> Tensor:
    """`merged` int64 [B, k]; its empty places (-1: a new user has no instructions) go to the `general` list [B, k].

    Places that neither fills hold -1.
    """
    rows = merged.tolist()
    for row in (merged < 0).any(1).nonzero()[:, 0].tolist():
        kept = [item for item in rows[row] if item >= 0]
        rest = [item for item in general[row].tolist() if item >= 0 and item not in kept]
        rows[row] = (kept + rest + [-1] * merged.shape[1])[:merged.shape[1]]
    return torch.tensor(rows)


def recent_times(histories: Histories) -> Tensor:
    """The time of each history's last interaction, int64 [B]; 0 where there is none."""
    last = (histories.offsets[1:] - 1).clamp(min=0)
    times = histories.times[last] if len(histories.times) else torch.zeros(len(histories), dtype=torch.int64)
    return torch.where(histories.lengths > 0, times, 0)


class HnswIndex:
    """Approximate inner-product search over all item vectors (the paper's serving); needs the extra `faiss`."""

    def __init__(self, vectors: Tensor) -> None:
        """Raises UsageError without faiss."""
        try:
            import faiss
        except ImportError as error:
            from cpbench.errors import UsageError

            raise UsageError("the approximate index needs faiss: pip install 'cpbench[faiss]'") from error
        self.index = faiss.IndexHNSWFlat(vectors.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = self.index.hnsw.efSearch = EFFORT
        self.index.add(vectors.detach().float().cpu().numpy())

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """queries [B, P, D] -> ids int64 [B, P, k], scores [B, P, k], best first; where it finds no more -1, -inf."""
        flat = queries.detach().float().cpu().reshape(-1, queries.shape[-1]).numpy()
        scores, ids = self.index.search(flat, k)
        shape = (*queries.shape[:2], k)
        found = torch.from_numpy(ids).view(shape)
        return found, torch.from_numpy(scores).view(shape).masked_fill(found < 0, -torch.inf)
