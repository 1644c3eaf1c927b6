"""A model class on the examination table: built, fitted quickly on made-up data, asked for scores.

The checks themselves are in `conformance`. Gradient-trained models get a few dozen Adam steps here, not the training
loop: what is examined is the model alone.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cpbench.data import synthetic
from cpbench.data.batches import TrainingSequences
from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Protocol, Split, split
from cpbench.models.base import Facts, Histories, ModelConfig, NeuralRecommender, Recommender, Sequences

LEARNING_RATE = 0.01
BATCH = 16
FEW_STEPS = 6  # for checks that ask nothing of quality


class CheckError(Exception):
    """A check that the model does not pass, in one sentence."""


def require(condition: bool, sentence: str) -> None:
    if not condition:
        raise CheckError(sentence)


def same(one: Tensor, other: Tensor) -> bool:
    """Equal up to rounding: matrix products of different shapes may round differently."""
    scale = max(1.0, float(one.abs().max())) if one.numel() else 1.0
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5 * scale)


@dataclass
class Examination:
    """`steps`: of gradient descent for the checks that ask whether anything is learnt (counting models ignore it)."""

    model_class: type[Recommender]
    config: ModelConfig
    steps: int = 60
    seed: int = 1
    in_epochs: bool = False
    """Whether the model's own `fit` said that it learns in epochs."""

    @cached_property
    def random(self) -> Dataset:
        return synthetic.random_dataset()

    @cached_property
    def model(self) -> Recommender:
        """Fitted on random data: for every check that asks nothing of quality."""
        return self.fitted(self.random)

    def built(self, dataset: Dataset) -> Recommender:
        torch.manual_seed(self.seed)
        return self.model_class(self.config, Facts.of(dataset))

    def fitted(self, dataset: Dataset, steps: int = FEW_STEPS, rate: float = LEARNING_RATE) -> Recommender:
        """A new model, fitted on the training part of `dataset`; a neural one is left in evaluation mode."""
        model, data = self.built(dataset), split(dataset, Protocol())
        if isinstance(model, NeuralRecommender):
            self.descend(model, data, steps, rate)
        else:
            self.in_epochs = bool(model.fit(data, self.seed))
        return model

    def descend(self, model: NeuralRecommender, data: Split, steps: int, rate: float) -> None:
        sequences = TrainingSequences(data, model.max_length, BATCH)
        order = np.random.default_rng(self.seed)
        torch.manual_seed(self.seed)
        model.begin_training(data)
        optimizer = torch.optim.Adam(model.parameters(), rate)
        model.train()
        for _ in range(-(-steps // len(sequences))):
            for batch in sequences.epoch(order):
                step(model, batch, optimizer)
        model.eval()


def step(model: NeuralRecommender, batch: Sequences, optimizer: torch.optim.Optimizer) -> float:
    """One step of gradient descent; returns the loss. Raises CheckError when it is no finite scalar with its parts."""
    optimizer.zero_grad(set_to_none=True)
    found = model.training_loss(batch)
    require(isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict),
            "training_loss must give the loss and a dict of its named parts")
    loss, parts = found
    odd = [name for name, part in parts.items() if not isinstance(part, int | float)]
    require(not odd, f"training_loss gives {', '.join(map(str, odd))} as no number: give floats, as of .item()")
    require(loss.ndim == 0, f"training_loss gave a loss of shape {tuple(loss.shape)}, expected a scalar")
    require(bool(torch.isfinite(loss)), f"the training loss became {loss.item()}")
    loss.backward()
    optimizer.step()
    return loss.item()


def scores_of(model: Recommender, histories: Histories) -> Tensor:
    """`score`, with its shape, type and finiteness already required."""
    with torch.inference_mode():
        scores = model.score(histories)
    expected = (len(histories), model.facts.n_items)
    require(tuple(scores.shape) == expected, f"score gave shape {tuple(scores.shape)}, expected {expected}")
    require(scores.dtype == torch.float32, f"score gave {scores.dtype}, expected torch.float32")
    finite = torch.isfinite(scores)
    require(bool(finite.all()), f"{int((~finite).sum())} of {finite.numel()} scores are NaN or infinite")
    return scores


def rows(histories: Histories, chosen: list[int]) -> Histories:
    """The histories `chosen`, in that order."""
    bounds = histories.offsets.tolist()
    items = [histories.items[bounds[row]:bounds[row + 1]].tolist() for row in chosen]
    times = [histories.times[bounds[row]:bounds[row + 1]].tolist() for row in chosen]
    request = None if histories.request_times is None else histories.request_times[chosen]
    return replace(Histories.of_lists(items, times), request_times=request)
