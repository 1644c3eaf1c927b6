"""The oracle: what the best possible ranking scores on the simulated data (docs/streaming.md has the derivation).

At a test event the oracle knows the intent w of the target's request, how many songs M it exposed, the platform's
order and its probability, the target's place in the batch, and what every model may see: the first v songs of the
batch in their order (the g songs after them, just before the target, are hidden by the serving lag). It does not know
the hidden songs, nor whether the batch was logged in the platform's order. Past requests tell nothing more, because
songs depend on the past through the intent alone: so no ranking made from the log has a higher expectation.

With e_k(A) the elementary symmetric polynomial of the intents of the songs in A (the sum over k-subsets of products):

    in platform order   w_s e_g(songs between the last visible one and s) e_r(songs after s), r = M - v - g - 1
    in random order     w_s e_{g+r}(songs not visible, without s) (M - v - 1)! / M!

are the probabilities, up to one common factor, of the visible prefix and of s as the target.
"""

from collections.abc import Iterator
from math import factorial
from pathlib import Path

import numpy as np

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Events, Split
from cpbench.data.streaming.truth import Truth
from cpbench.errors import UsageError

CUTOFFS = (1, 5, 10, 20, 50, 100, 200)
BLOCK = 128  # events at once: some arrays of [events, N, largest batch]


def ceiling(folder: Path, split: Split) -> dict[str, float]:
    """Expected HR@K, NDCG@K and MRR of the best ranking of ``split.test`` under the split's protocol.

    `folder` is where `load_or_generate` put the dataset. Under `exclude_seen` a song of the visible history cannot be
    ranked, so its probability is lost, as it is to every model. Raises UsageError when `split` is of other data.
    """
    stored = Dataset.load(folder)
    if stored.fingerprint != split.dataset.fingerprint:
        raise UsageError(f"the split is of dataset {split.dataset.fingerprint}, "
                         f"but {folder} holds {stored.fingerprint}")
    truth = Truth.load(folder)
    ranks = np.arange(1, stored.n_items + 1)
    best = np.zeros(stored.n_items)  # mean probability of the r-th best song
    for _, probability in posteriors(truth, split, split.test):
        best += -np.sort(-probability, axis=1).sum(axis=0)
    best /= len(split.test)
    gain = best / np.log2(ranks + 1)
    result = {}
    for k in CUTOFFS:
        result[f"HR@{k}"] = float(best[:k].sum())
        result[f"NDCG@{k}"] = float(gain[:k].sum())
    result["MRR"] = float((best / ranks).sum())
    return result


def posteriors(truth: Truth, split: Split, events: Events) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of (positions in `events` [b], probability that each song is the target, float64 [b, N]).

    Rows sum to 1, less what `exclude_seen` takes away.
    """
    items, request, place = split.dataset.items, truth.request[events.target], truth.place[events.target].astype(int)
    visible = np.clip(events.end - (events.target - place), 0, place)
    shapes = np.column_stack([truth.size[request], visible, place - visible])
    for size, v, g in np.unique(shapes, axis=0).tolist():
        alike = np.flatnonzero((shapes == (size, v, g)).all(axis=1))
        for first in range(0, len(alike), BLOCK):
            block = alike[first:first + BLOCK]
            began = events.target[block] - place[block]
            prefix = items[began[:, None] + np.arange(v)].astype(np.int64)  # [b, v]
            probability = next_song(truth.intent(request[block]), truth.key, prefix, size, g, truth.order_artefact)
            if split.protocol.exclude_seen:
                for row, event in enumerate(block):
                    probability[row, items[events.start[event]:events.end[event]]] = 0.0
            yield block, probability


def next_song(intent: np.ndarray, key: np.ndarray, prefix: np.ndarray, size: int, hidden: int,
              order_artefact: float) -> np.ndarray:
    """The distribution of the song at place v + `hidden` of a batch of `size`, given its first v songs.

    intent float64 [b, N] (need not be normalised); key int [N]; prefix int64 [b, v]. Returns float64 [b, N].
    """
    v = prefix.shape[1]
    left = size - v - 1  # songs of the batch that are neither visible nor the target
    order = np.argsort(key)
    weight = intent[:, order]  # songs in the platform's order from here on
    seen = key[prefix]  # [b, v]

    others = weight.copy()
    np.put_along_axis(others, seen, 0.0, axis=1)
    before, after = _symmetric(others, left)
    without = sum(before[i] * after[left - i] for i in range(left + 1))  # e_left of all others but the song itself
    probability = (1.0 - order_artefact) * factorial(left) / factorial(size) * others * without

    ascending = (np.diff(seen, axis=1) > 0).all(axis=1, keepdims=True)  # else the batch cannot be in platform order
    last = seen[:, -1:] if v else np.full((len(intent), 1), -1)
    later = np.where(np.arange(len(key)) > last, weight, 0.0)
    before, after = _symmetric(later, left)
    probability += ascending * order_artefact * later * before[hidden] * after[left - hidden]

    probability /= probability.sum(axis=1, keepdims=True)
    return probability[:, key]


def _symmetric(weight: np.ndarray, degree: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """e_0 .. e_degree of the songs before each song and of those after it, each a list of [b, N].

    Running sums of positive terms only: nothing cancels.
    """
    def running(part: np.ndarray) -> list[np.ndarray]:
        result = [np.ones_like(part)]
        for _ in range(degree):
            total = np.cumsum(part * result[-1], axis=1)
            result.append(np.concatenate([np.zeros_like(part[:, :1]), total[:, :-1]], axis=1))
        return result

    return running(weight), [part[:, ::-1] for part in running(weight[:, ::-1])]
