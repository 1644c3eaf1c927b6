"""EASE: embarrassingly shallow autoencoders (Steck, WWW 2019, https://arxiv.org/abs/1905.03375).

users in common G = X^T X -> P = (G + lambda I)^-1 -> weights B_ij = -P_ij / P_jj, diagonal 0 -> history @ B.
"""

import numpy as np
from pydantic import Field
from scipy import sparse
from scipy.linalg import lapack
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.errors import CpbenchError, UsageError
from cpbench.models.base import ModelConfig
from cpbench.models.item_to_item import ItemToItem, co_occurrence, from_tensors, to_tensors

LARGEST_CATALOGUE = 50_000  # 10 GB of float32


class EASEConfig(ModelConfig):
    ridge: float = Field(50.0, gt=0)
    """The paper's lambda."""


class EASE(ItemToItem):
    """The linear autoencoder with zero diagonal, solved in closed form.

    Memory 4 N^2 bytes and time about N^3 (Amazon Beauty, 12,101 items: 0.6 GB, 15 s on one core; Sports, 18,357:
    1.35 GB), in float32 and in place; float64 agrees in every published digit. A checkpoint holds G, which is sparse
    and hundreds of times smaller: loading solves again. More than 50,000 items are refused.
    """

    name = "ease"
    Config = EASEConfig
    config: EASEConfig
    common: sparse.csr_array

    def learn(self, split: Split) -> np.ndarray:
        if split.dataset.n_items > LARGEST_CATALOGUE:
            raise UsageError(f"ease inverts a matrix of items x items, and {split.dataset.n_items:,} items are more "
                             f"than its limit of {LARGEST_CATALOGUE:,}; use item-knn")
        self.common = co_occurrence(split)
        return solve(self.common, self.config.ridge)

    def tensors(self) -> dict[str, Tensor]:
        return {"popularity": self.popularity, **to_tensors(self.common)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.popularity = tensors["popularity"]
        self.common = from_tensors(tensors, self.facts.n_items)
        self.weights = solve(self.common, self.config.ridge)


def solve(common: sparse.csr_array, ridge: float) -> np.ndarray:
    """The weights B, float32 [N, N] (row = item of the history), from G = X^T X."""
    # LAPACK works in place on column-major arrays; of a symmetric matrix it reads and writes one triangle
    gram = common.astype(np.float32).toarray(order="F")
    gram[np.diag_indices_from(gram)] += ridge
    inverse, status = lapack.spotrf(gram, lower=1, overwrite_a=1)
    if status == 0:
        inverse, status = lapack.spotri(inverse, lower=1, overwrite_c=1)
    if status:
        raise CpbenchError(f"ease cannot invert G + {ridge} I in float32 (LAPACK status {status}); raise ridge")
    weights = inverse.T  # the lower triangle of columns is the upper triangle of rows
    for row in range(len(weights)):
        weights[row + 1:, row] = weights[row, row + 1:]
    weights *= -1.0 / weights.diagonal()
    np.fill_diagonal(weights, 0.0)
    return weights
