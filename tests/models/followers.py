"""A correct little model, from which the tests of the conformance suite derive broken ones."""

import torch
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.models.base import Histories, Recommender


class Followers(Recommender):
    """A correct little model: how often each item followed the newest one."""

    name = "followers"

    def fit(self, split: Split, seed: int) -> None:
        counts = torch.zeros(self.facts.n_items, self.facts.n_items)
        for first, last in zip(split.dataset.offsets, split.train_end, strict=False):
            row = split.dataset.items[first:last].tolist()
            for one in row:
                for other in row:
                    counts[one, other] += one != other
        self.counts = counts

    def score(self, histories: Histories) -> Tensor:
        scores = torch.zeros(len(histories), self.facts.n_items)
        for row, (first, last) in enumerate(zip(histories.offsets, histories.offsets[1:], strict=False)):
            if last > first:
                scores[row] = self.counts[histories.items[last - 1]]
        return scores

    def tensors(self) -> dict[str, Tensor]:
        return {"counts": self.counts}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.counts = tensors["counts"]
