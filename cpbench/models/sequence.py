"""What every embedding-based sequence model shares: a query per position, an item matrix, their inner product."""

from abc import abstractmethod

import torch
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.models.base import Facts, Histories, ModelConfig, NeuralRecommender, Sequences


class SequenceModel(NeuralRecommender):
    """A model whose score is ``query @ item_matrix.T``.

    An empty history is answered by training popularity: it is what every model would give a new user.
    """

    popularity: Tensor

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.register_buffer("popularity", torch.zeros(facts.n_items))

    def begin_training(self, split: Split) -> None:
        self.popularity.copy_(torch.from_numpy(split.train_counts))

    @abstractmethod
    def hidden(self, batch: Sequences) -> Tensor:
        """The query after every position, [B, L, D]: row q depends on interactions 0..q only."""

    @abstractmethod
    def item_matrix(self) -> Tensor:
        """The scoring vectors of all items, [N, D]."""

    def queries(self, batch: Sequences, items: Tensor | None = None) -> Tensor:
        """The query after the last position of each sequence, [B, D]; `items`: the item matrix, where it is at hand."""
        return self.hidden(batch)[torch.arange(len(batch.items), device=self.device),
                                  (batch.lengths - 1).clamp(min=0)]

    def score(self, histories: Histories) -> Tensor:
        batch = histories.padded(self.max_length).to(self.device)
        items = self.item_matrix()
        scores = (self.queries(batch, items) @ items.T).float()
        empty = batch.lengths == 0
        return torch.where(empty[:, None], self.popularity, scores) if bool(empty.any()) else scores
