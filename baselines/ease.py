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

    Memory 4 N^2 bytes, time about N^3 multiplications (Amazon Beauty, 12,101 items: 0.6 GB, 20 s on one core; Sports,
    18,357: 1.35 GB, 70 s): float32 and in place, which agrees with float64 in every published digit. A checkpoint
    holds G, which is sparse and hundreds of times smaller, and loading solves again. More than 50,000 items are refused.
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
    inverse = common.astype(np.float32).toarray(order="F")
    inverse[np.diag_indices_from(inverse)] += ridge
    for step in (lapack.spotrf, lapack.spotri):
        inverse, status = step(inverse, lower=1, **{"overwrite_a" if step is lapack.spotrf else "overwrite_c": 1})
        if status:
            raise CpbenchError(f"ease: the Gram matrix is not positive definite (LAPACK {status}); raise ridge")
    scale = -1.0 / inverse.diagonal()
    weights = inverse.T  # row-major view: the upper triangle holds the values
    for row in range(len(weights)):
        weights[row + 1:, row] = weights[row, row + 1:]
    weights *= scale
    np.fill_diagonal(weights, 0.0)
    return weights
