"""What the counting models share: a user-item matrix, and scores that are ``history weights @ item-item weights``.

All sums run over one history at a time and in item order: a score depends on nothing but its history, to the last
bit, however histories are batched.
"""

from abc import abstractmethod

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.models.base import Facts, Histories, ModelConfig, Recommender


def training_matrix(split: Split) -> sparse.csr_array:
    """Which user had which item in training, float32 [B, N] of ones: repetitions count once."""
    kept = split.train_mask()
    users, items = split.dataset.user_of_interaction()[kept], split.dataset.items[kept]
    ones = np.ones(len(items), dtype=np.float32)
    matrix = sparse.csr_array((ones, (users, items)), shape=(split.dataset.n_users, split.dataset.n_items))
    matrix.data[:] = 1.0
    return matrix


def co_occurrence(split: Split) -> sparse.csr_array:
    """How many users had both items, [N, N] (symmetric; the diagonal counts an item's users)."""
    matrix = training_matrix(split)
    return (matrix.T @ matrix).tocsr()


def to_tensors(matrix: sparse.csr_array) -> dict[str, Tensor]:
    """A sparse matrix as three tensors, for a checkpoint."""
    return {"indptr": torch.from_numpy(matrix.indptr.astype(np.int64)),
            "indices": torch.from_numpy(matrix.indices.astype(np.int32)),
            "values": torch.from_numpy(matrix.data)}


def from_tensors(tensors: dict[str, Tensor], n_items: int) -> sparse.csr_array:
    """The [N, N] matrix that `to_tensors` took apart."""
    parts = (tensors[name].numpy() for name in ("values", "indices", "indptr"))
    return sparse.csr_array(tuple(parts), shape=(n_items, n_items))


class ItemToItem(Recommender):
    """A model whose score is ``history @ weights``: `weights` [N, N], row = item of the history, column = scored item.

    A history that says nothing (it is empty, or none of its items has a weight) is answered by training popularity:
    it is what every model would give a new user.
    """

    weights: sparse.csr_array | np.ndarray
    popularity: Tensor

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.weights = sparse.csr_array((facts.n_items, facts.n_items), dtype=np.float64)
        self.popularity = torch.zeros(facts.n_items)

    def fit(self, split: Split, seed: int) -> None:
        self.popularity = torch.from_numpy(split.train_counts).float()
        self.weights = self.learn(split)

    @abstractmethod
    def learn(self, split: Split) -> sparse.csr_array | np.ndarray:
        """The item-item weights [N, N]."""

    def importance(self, age: np.ndarray) -> np.ndarray:
        """The weight of an interaction `age` steps back (0 is the newest), float64, same shape."""
        return np.ones(len(age))

    def history_matrix(self, histories: Histories) -> sparse.csr_array:
        """The importance of every item of every history, [B, N]; of an item's repetitions the newest counts."""
        lengths, offsets = histories.lengths.numpy(), histories.offsets.numpy()
        rows = np.repeat(np.arange(len(histories)), lengths)
        age = np.repeat(offsets[1:], lengths) - 1 - np.arange(len(rows))
        items = histories.items.numpy()
        newest = np.unique((rows * self.facts.n_items + items)[::-1], return_index=True)[1]
        kept = len(rows) - 1 - newest
        values = self.importance(age[kept]).astype(self.weights.dtype)
        return sparse.csr_array((values, (rows[kept], items[kept])), shape=(len(histories), self.facts.n_items))

    def score(self, histories: Histories) -> Tensor:
        product = self.history_matrix(histories) @ self.weights
        dense = product.toarray() if sparse.issparse(product) else product
        scores = torch.from_numpy(dense.astype(np.float32, copy=False))
        silent = (scores == 0).all(1)
        return torch.where(silent[:, None], self.popularity, scores)

    def tensors(self) -> dict[str, Tensor]:
        return {"popularity": self.popularity, **to_tensors(self.weights)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.popularity = tensors["popularity"]
        self.weights = from_tensors(tensors, self.facts.n_items)

    @property
    def n_parameters(self) -> int:
        return int(self.weights.size)
