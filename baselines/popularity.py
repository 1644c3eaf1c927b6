"""Popularity: the same list for everybody, by how often items occur in training, overall or recently."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.models.base import Facts, Histories, ModelConfig, Recommender

DAY = 86_400  # seconds


class Popularity(Recommender):
    """The most frequent items of the training data, the same for everybody."""

    name = "popularity"
    counts: Tensor

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.counts = torch.zeros(facts.n_items)

    def fit(self, split: Split, seed: int) -> None:
        self.counts = torch.from_numpy(split.train_counts).float()

    def score(self, histories: Histories) -> Tensor:
        return self.counts.repeat(len(histories), 1)

    def tensors(self) -> dict[str, Tensor]:
        return {"counts": self.counts}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.counts = tensors["counts"]


class RecentPopularityConfig(ModelConfig):
    half_life_days: float = Field(30.0, gt=0)
    """An interaction that lies this much before the last training interaction counts half, twice as much a quarter."""


class RecentPopularity(Popularity):
    """The most frequent items of late: training counts that fade with age.

    Age is measured from the last training interaction of all users. Under the temporal split that is the moment of
    the cut; under leave-one-out it is (almost) the end of the data, for every event alike, because that protocol
    has no global clock.
    """

    name = "recent-popularity"
    Config = RecentPopularityConfig
    config: RecentPopularityConfig

    @property
    def information(self) -> list[str]:
        return ["times"]

    def fit(self, split: Split, seed: int) -> None:
        kept = split.train_mask()
        items, times = split.dataset.items[kept], split.dataset.times[kept]
        age = (times.max(initial=0) - times) / (DAY * self.config.half_life_days)
        recent = np.bincount(items, weights=0.5**age, minlength=split.dataset.n_items)
        self.counts = torch.from_numpy(recent.astype(np.float32))
