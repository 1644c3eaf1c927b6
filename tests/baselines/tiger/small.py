"""A TIGER that fits and answers in milliseconds."""

from typing import Any

import torch
from cpbench.baselines.tiger.model import TIGER, TIGERConfig

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Protocol, split
from cpbench.models.base import Facts
from cpbench.training.loop import seed_everything
from tests.random_data import ragged

SMALL: dict[str, Any] = {"width": 8, "heads": 2, "head_width": 6, "feed_forward": 16, "layers": 2, "dropout": 0.0,
                         "length": 6, "codes": 4, "levels": 2, "quantiser": "rk-means"}


def built(dataset: Dataset | None = None, **config: Any) -> TIGER:
    """Semantic ids learned, weights random (and larger than at the start, so that everything matters)."""
    dataset = ragged(12, n_items=30) if dataset is None else dataset
    seed_everything(1, 0)
    model = TIGER(TIGERConfig(**{**SMALL, **config}), Facts.of(dataset))
    model.begin_training(split(dataset, Protocol()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()
