"""Every check of the conformance suite that looks at training or at times can fail, and correct models pass."""

import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cpbench.data.protocol import Split
from cpbench.models.base import Facts, Histories, ModelConfig, NeuralRecommender, Recommender, Sequences
from cpbench.models.layers import TIME_BUCKETS, time_buckets
from cpbench.models.sequence import SequenceModel
from tests.models.failures import failures


class TinyConfig(ModelConfig):
    leak: bool = False


class Averages(SequenceModel):
    """The running mean of item vectors; with `leak` the mean runs over the future too."""

    name = "averages"
    Config = TinyConfig
    leak = False
    max_length = 20  # type: ignore[assignment]

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.items = nn.Embedding(facts.n_items, 16)
        self.mix = nn.Linear(16, 16)

    def hidden(self, batch: Sequences) -> Tensor:
        vectors = self.items(batch.items) * batch.real()[:, :, None]
        total = vectors.cumsum(1) / torch.arange(1, vectors.shape[1] + 1)[:, None]
        if self.leak:
            total = total + torch.cat([vectors[:, 1:], vectors[:, :1] * 0], 1)
        return self.mix(total)

    def item_matrix(self) -> Tensor:
        return self.items.weight

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        inputs = Sequences(batch.items[:, :-1], batch.times[:, :-1], batch.lengths - 1)
        real = inputs.real()
        logits = self.hidden(inputs)[real] @ self.items.weight.T
        return nn.functional.cross_entropy(logits, batch.items[:, 1:][real]), {}


class Collides(Averages):
    class Config(TinyConfig):
        epochs: int = 3


class Leaky(Averages):
    leak = True


class Punctual(Averages):
    """Sees the time of the request, and says so."""

    information = ["times", "request time"]  # type: ignore[assignment]

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.gaps = nn.Embedding(TIME_BUCKETS, 16)

    def request(self, batch: Sequences) -> Tensor:
        return batch.asked()

    def hidden(self, batch: Sequences) -> Tensor:
        return super().hidden(batch) + self.gaps(time_buckets(self.request(batch) - batch.times))


class Secretive(Punctual):
    information = ["times"]  # type: ignore[assignment]


class ReadsTwoTimesAhead(Punctual):
    def request(self, batch: Sequences) -> Tensor:
        asked = batch.asked()
        return torch.cat([asked[:, 1:], asked[:, -1:]], 1)


class ReadsTheLastRequest(Punctual):
    """Training rows see when the whole sequence ends."""

    def request(self, batch: Sequences) -> Tensor:
        asked = batch.asked()
        return asked.gather(1, (batch.lengths - 1).clamp(min=0)[:, None]).expand_as(asked)


class SharesARequest(Punctual):
    def request(self, batch: Sequences) -> Tensor:
        return batch.asked() if batch.request_times is None else batch.request_times[0].expand_as(batch.times)


class ReadsPadding(Averages):
    def hidden(self, batch: Sequences) -> Tensor:
        return self.mix(self.items(batch.items).mean(1, keepdim=True) + self.items(batch.items))


class Explodes(Averages):
    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        loss, parts = super().training_loss(batch)
        return loss / (batch.lengths.max() - 2), parts


class VectorLoss(Averages):
    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        return super().training_loss(batch)[0][None], {}


class BareLoss(Averages):
    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        return super().training_loss(batch)[0]  # type: ignore[return-value]


class TensorParts(Averages):
    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        loss, _ = super().training_loss(batch)
        return loss, {"ce": loss.detach()}  # type: ignore[dict-item]


class CountsHeldOut(Averages):
    """A popularity of everything as a bias of its scores."""

    def begin_training(self, split: Split) -> None:
        self.counts = torch.from_numpy(np.bincount(split.dataset.items, minlength=self.facts.n_items)).float()

    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + self.counts


class WideStart(Averages):
    """Causal, and so far from anything at its start that few steps do not unlearn it."""

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.items = nn.Embedding(facts.n_items, 64)
        self.mix = nn.Identity()  # type: ignore[assignment]


class AddsUpAnyhow(Averages):
    """Its gradient depends on something that no seed decides, as sums by many threads do."""

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        loss, parts = super().training_loss(batch)
        return loss * (1 + torch.rand((), generator=torch.Generator().manual_seed(time.perf_counter_ns())) / 1e3), parts


class Dozes(Averages):
    """Keeps its dropout at evaluation."""

    def hidden(self, batch: Sequences) -> Tensor:
        return nn.functional.dropout(super().hidden(batch), 0.5)


class BlindNeural(NeuralRecommender):
    """Not a SequenceModel: its states cannot be looked at, its loss can."""

    name = "blind"
    Config = TinyConfig
    max_length = 20  # type: ignore[assignment]

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.inner = Leaky(config, facts)

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        return self.inner.training_loss(batch)

    def score(self, histories: Histories) -> Tensor:
        return self.inner.score(histories)


@pytest.mark.parametrize(("broken", "name", "message"), [
    (Collides, "config", "Config has keys that are settings of the training loop: epochs"),
    (Leaky, "causality", "changing the future of a sequence changes the hidden states of its past"),
    (Leaky, "leakage", "on random sequences the loss falls to"),
    (BlindNeural, "leakage", "on random sequences the loss falls to"),
    (ReadsPadding, "causality", "changing the future of a sequence changes the hidden states of its past"),
    (ReadsPadding, "batches", "a history of "),
    (Secretive, "information", "scores depend on the request time, which is not declared"),
    (Secretive, "causality", "changing the future of a sequence changes the hidden states of its past"),
    (ReadsTwoTimesAhead, "causality", "changing the future of a sequence changes the hidden states of its past"),
    (ReadsTheLastRequest, "causality", "changing the future of a sequence changes the hidden states of its past"),
    (SharesARequest, "batches", "the order of the histories in a batch changes their scores"),
    (Explodes, "short sequences", "the training loss became inf"),
    (VectorLoss, "short sequences", "training_loss gave a loss of shape (1,), expected a scalar"),
    (BareLoss, "short sequences", "training_loss must give the loss and a dict of its named parts"),
    (TensorParts, "short sequences", "training_loss gives ce as no number: give floats, as of .item()"),
    (CountsHeldOut, "held out", "scores depend on validation or test interactions"),
    (AddsUpAnyhow, "repetition", "the same batch gives items.weight, mix.weight, mix.bias another gradient"),
    (Dozes, "determinism", "scoring the same histories twice gives different scores"),
], ids=lambda value: value.__name__ if isinstance(value, type) else "")
def test_a_broken_neural_model_fails(broken: type[Recommender], name: str, message: str) -> None:
    assert failures(broken)[name].startswith(message)


@pytest.mark.parametrize("correct", [Averages, Punctual, WideStart])
def test_a_correct_neural_model_passes(correct: type[Recommender]) -> None:
    assert failures(correct) == {}
