"""Sequential item-kNN: what followed what, counted (a windowed Markov chain; cf. Ludewig & Jannach, UMUAI 2018,
https://arxiv.org/abs/1803.09587, whose sequential rules weight a pair by 1 / gap in the same way).

training sequences -> for every pair i before j at most `window` steps apart add 1 / gap to w_ij
-> sum over the history of decay^age * w_ij.
"""

import numpy as np
from pydantic import Field
from scipy import sparse

from cpbench.data.protocol import Split
from cpbench.models.base import ModelConfig
from cpbench.models.item_to_item import ItemToItem


class SequentialItemKNNConfig(ModelConfig):
    window: int = Field(5, ge=1)
    """Largest gap, in steps of the sequence, between two items that count as a transition."""
    decay: float = Field(0.5, gt=0, le=1)
    """The weight of the newest item of the history is 1, of the one before `decay`, then `decay`^2, ..."""


class SequentialItemKNN(ItemToItem):
    """Items that followed the newest items of the history, by counted transitions.

    Directed and not normalised: a frequent successor counts for more. Transitions of an item to itself are left out.
    """

    name = "seq-item-knn"
    Config = SequentialItemKNNConfig
    config: SequentialItemKNNConfig

    def learn(self, split: Split) -> sparse.csr_array:
        items, users = split.dataset.items, split.dataset.user_of_interaction()
        trained, n_items = split.train_mask(), split.dataset.n_items
        weights = sparse.csr_array((n_items, n_items), dtype=np.float64)
        for gap in range(1, min(self.config.window, len(items) - 1) + 1):
            # a training interaction's predecessors in the sequence are training interactions too
            pair = np.flatnonzero((users[gap:] == users[:-gap]) & trained[gap:] & (items[gap:] != items[:-gap]))
            before, after = items[pair], items[pair + gap]
            weights += sparse.csr_array((np.full(len(pair), 1.0 / gap), (before, after)), shape=(n_items, n_items))
        return weights

    def importance(self, age: np.ndarray) -> np.ndarray:
        return self.config.decay**age
