"""Metrics from ranks and from lists. A rank is ``1 + #better + #equal / 2`` (it may be a half); a miss is infinity."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CUTOFFS = (1, 5, 10, 20, 50, 100, 200)
ACTIVITY, POPULARITY = ("low", "middle", "high"), ("rare", "common", "popular")
"""Thirds of the events, by the user's and by the target's interactions in training."""


def hit_rate(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 where the target is within the first k, per event [E] (equal to recall: one target per event)."""
    return (ranks <= k).astype(np.float64)


def gain(ranks: np.ndarray) -> np.ndarray:
    """``1 / log2(rank + 1)``, 0 for a miss, per event [E]."""
    return 1.0 / np.log2(ranks + 1.0)


def ndcg(ranks: np.ndarray, k: int) -> np.ndarray:
    """The `gain` within the first k, else 0, per event [E] (the ideal DCG of one target is 1)."""
    return np.where(ranks <= k, gain(ranks), 0.0)


def reciprocal_rank(ranks: np.ndarray) -> np.ndarray:
    """``1 / rank``, 0 for a miss, per event [E]."""
    return 1.0 / ranks


def accuracy(ranks: np.ndarray, beam: int | None = None) -> dict[str, float]:
    """HR@K and NDCG@K at every cut-off, and MRR: means over events.

    `beam`: ranks beyond it are unknown, so that larger cut-offs and MRR are left out.
    """
    return accuracies(ranks[None], beam)[0]


def accuracies(ranks: np.ndarray, beam: int | None = None) -> list[dict[str, float]]:
    """`accuracy` of R runs over the same events at once; ranks [R, E]."""
    found: dict[str, np.ndarray] = {}
    gains = gain(ranks)
    for k in (k for k in CUTOFFS if beam is None or k <= beam):
        within = ranks <= k
        found[f"HR@{k}"] = within.mean(axis=-1)
        found[f"NDCG@{k}"] = np.where(within, gains, 0.0).mean(axis=-1)  # `ndcg`, with the logarithms taken once
    if beam is None:
        found["MRR"] = reciprocal_rank(ranks).mean(axis=-1)
    return [dict(zip(found, values, strict=True)) for values in np.stack(list(found.values()), axis=1).tolist()]


def horizon(ranks: np.ndarray, beam: int | None = None) -> dict[str, float]:
    """HR@K of one list against the items 1 .. H steps ahead; ranks [E, H] (Climber-Pilot, Fig. 3)."""
    return {f"HR@{k}/step {step}": float(hit_rate(ranks[:, step - 1], k).mean())
            for k in (10, 20, 50) if beam is None or k <= beam for step in range(1, ranks.shape[1] + 1)}


def by_activity(ranks: np.ndarray, activity: np.ndarray) -> dict[str, float]:
    """HR@10 and NDCG@10 by tercile of user activity (training interactions of the event's user, [E])."""
    return _by_tercile(ranks, activity, ACTIVITY)


def by_popularity(ranks: np.ndarray, popularity: np.ndarray) -> dict[str, float]:
    """HR@10 and NDCG@10 by tercile of the target's popularity (training interactions of the item, [E])."""
    return _by_tercile(ranks, popularity, POPULARITY)


def _by_tercile(ranks: np.ndarray, amounts: np.ndarray, levels: tuple[str, str, str]) -> dict[str, float]:
    order = np.argsort(amounts, kind="stable")
    result = {}
    for level, part in zip(levels, np.array_split(order, 3), strict=True):
        if len(part):
            result[f"HR@10/{level}"] = float(hit_rate(ranks[part], 10).mean())
            result[f"NDCG@10/{level}"] = float(ndcg(ranks[part], 10).mean())
    return result


def list_metrics(lists: np.ndarray, train_counts: np.ndarray, membership: "csr_array | None"
                 ) -> dict[str, float]:
    """Beyond accuracy, from the first K items of every event.

    lists int [E, K], -1 in a place without an item of the catalogue; train_counts [N]; membership bool [N, V] of one
    attribute, or None.
    coverage: share of the catalogue shown at least once. gini: inequality of exposure over the catalogue, 0 even.
    novelty: mean ``-log2`` of the item's share of training interactions (add-one smoothed).
    diversity: mean over whole lists and item pairs of 1 - Jaccard similarity of the attribute's values.
    Where nothing at all is shown there are none.
    """
    k = lists.shape[1]
    shown = lists[lists >= 0]
    if not len(shown):
        return {}
    exposure = np.sort(np.bincount(shown, minlength=len(train_counts)))
    n_items = len(exposure)
    steps = np.arange(1, n_items + 1)
    share = (train_counts + 1.0) / (train_counts.sum() + n_items)
    result = {
        f"coverage@{k}": float((exposure > 0).mean()),
        f"gini@{k}": float(((2 * steps - n_items - 1) * exposure).sum() / (n_items * exposure.sum())),
        f"novelty@{k}": float(-np.log2(share)[shown].mean()),
    }
    whole = lists[(lists >= 0).all(axis=1)]
    if membership is not None and k > 1 and len(whole):
        result[f"diversity@{k}"] = float(diversity(whole, membership).mean())
    return result


def diversity(lists: np.ndarray, membership: "csr_array", block: int = 8192) -> np.ndarray:
    """Mean over the item pairs of each list of 1 - Jaccard similarity of their values, [E]; lists [E, K > 1],
    membership float32 [N, V] of zeros and ones."""
    sizes = membership.sum(axis=1)
    one, other = np.triu_indices(lists.shape[1], k=1)
    result = np.empty(len(lists))
    for first in range(0, len(lists), block):
        part = lists[first:first + block]
        values = [membership[items] for items in part.T]  # K times [block, V]
        common = np.stack([values[a].multiply(values[b]).sum(axis=1) for a, b in zip(one, other, strict=True)], 1)
        union = sizes[part[:, one]] + sizes[part[:, other]] - common
        similarity = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        result[first:first + block] = (1.0 - similarity).mean(axis=1)
    return result
