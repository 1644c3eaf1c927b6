"""The simulated service as its log left it: the songs, and what is true of every user at the end."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cpbench.data.dataset import Dataset
from cpbench.data.streaming.config import GENRES, StreamingConfig
from cpbench.data.streaming.simulator import activity_levels
from cpbench.data.streaming.truth import Truth
from cpbench.errors import UsageError


@dataclass(frozen=True)
class Service:
    """A generated dataset (B users, N songs) with its truth and the knobs it was made with."""

    dataset: Dataset
    truth: Truth
    config: StreamingConfig

    @classmethod
    def load(cls, dataset: Dataset, folder: Path) -> "Service":
        """`folder` is where `load_or_generate` put `dataset`. Raises UsageError when the data are not simulated."""
        made = dataset.manifest.get("simulator")
        if not isinstance(made, dict) or "config" not in made:
            raise UsageError(f"dataset {dataset.name!r} is not simulated: nobody knows what its users would do with "
                             "other songs; a closed loop needs runs on `streaming`")
        return cls(dataset, Truth.load(folder), StreamingConfig(**made["config"]))

    @cached_property
    def member(self) -> np.ndarray:
        """Which genres of the generator each song carries, bool [N, genres]."""
        attribute = self.dataset.attribute("genre")
        number = np.array([GENRES.index(name) for name in attribute.names], dtype=np.int64)
        member = np.zeros((self.dataset.n_items, self.config.genres), dtype=bool)
        member[:, number] = attribute.matrix()
        return member

    @cached_property
    def level(self) -> np.ndarray:
        """Every user's level of activity, int64 [B]."""
        return activity_levels(self.config)

    @cached_property
    def last_sources(self) -> np.ndarray:
        """The sources of the taste at every user's last request, int64 [B, T]: genre times languages plus language."""
        last = self.truth.request[self.dataset.offsets[1:] - 1]
        return self.truth.mixture_sources[last, 2:].astype(np.int64)

    @property
    def taste(self) -> np.ndarray:
        """The genres of every user's taste when the log ends, int64 [B, T], the favourite first."""
        return self.last_sources // self.config.languages

    @property
    def language(self) -> np.ndarray:
        """Every user's language, int64 [B]."""
        return self.last_sources[:, 0] % self.config.languages

    @property
    def taste_shares(self) -> np.ndarray:
        """The shares of a taste's genres, float64 [T], summing to 1."""
        return np.array(self.config.taste_shares) / np.sum(self.config.taste_shares)
