"""Every registered model passes the conformance suite, and every check of the suite can fail."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from cpbench.data.protocol import Split
from cpbench.errors import UsageError
from cpbench.models.base import Facts, Histories, ModelConfig, NeuralRecommender, Recommender, Sequences
from cpbench.models.conformance import check
from cpbench.models.layers import TIME_BUCKETS, time_buckets
from cpbench.models.registry import model_class, model_names
from cpbench.models.sequence import SequenceModel

GBCE = {"width": 16, "blocks": 1, "negatives": 4, "loss": "gbce", "gbce_t": 0.5}
SMALL: dict[str, list[dict[str, Any]]] = {
    "sasrec": [{"width": 16, "blocks": 1, "negatives": 16, "loss": loss}
               for loss in ("bce", "softmax", "sampled-softmax")] + [GBCE, {"width": 16, "request_time": True}],
    "pinrec": [{"width": 16, "blocks": 1, "negatives": 16}],
    "bsarec": [{"width": 16, "blocks": 1}],
    "esasrec": [{"width": 16, "negatives": 16}],
    "bert4rec": [{"width": 32, "blocks": 1, "mask_rate": 0.5}],
    "gru4rec": [{"width": 16, "layers": 2}],
    "hstu": [{"width": 16, "length": 20, **more} for more in (
        {"heads": 2, "query_width": 6, "value_width": 8, "request_time": True},
        {"blocks": 1, "loss": "softmax", "shared_negatives": True, "time_bias": False})],
    "tiger": [{"width": 16, "heads": 2, "head_width": 8, "feed_forward": 16, "layers": 1, "quantiser": "rk-means",
               **more} for more in ({"causal": True}, {"causal": False, "prefixes": 0, "codes": 8, "levels": 2})],
    "climber-pilot": [{"width": 16, "layers": 1, "negatives": 32, **more} for more in (
        {"mode": "nip", "loss": "softmax"}, {"mode": "mip", "sampler": "in-batch"}, {"mode": "tamip"},
        {"mode": "tamip", "cutoff": "exact", "category": "none"}, {"mode": "mip", "temperature": 0.1})],
}
CASES = [pytest.param(name, settings, id=f"{name}-{'-'.join(map(str, settings.values()))}")
         for name in model_names() for settings in SMALL.get(name, [{}])]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_registered_model_conforms(name: str, settings: dict[str, Any]) -> None:
    found = model_class(name)
    failures = [result for result in check(found, found.Config(**settings)) if not result.ok]
    assert failures == []


def failures(model_class: type[Recommender]) -> dict[str, str]:
    return {result.name: result.message for result in check(model_class, steps=60) if not result.ok}


class Followers(Recommender):
    """A correct little model: how often each item followed the newest one. The broken ones below derive from it."""

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


def test_the_correct_little_model_passes() -> None:
    assert failures(Followers) == {}


class Nameless(Followers):
    name = ""


class Lenient(Followers):
    class Config(ModelConfig):
        model_config = ConfigDict(extra="ignore", frozen=True)


class WithoutDefaults(Followers):
    class Config(ModelConfig):
        width: int


class ForeignConfig(Followers):
    class Config(BaseModel):  # type: ignore[assignment]
        model_config = ConfigDict(extra="forbid")


class WrongShape(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories)[:, :-1]


class WrongType(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories).double()


class NaN(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) / histories.lengths[:, None]  # 0 / 0 for an empty history


class Crashes(Followers):
    def score(self, histories: Histories) -> Tensor:
        if bool((histories.lengths == 0).any()):
            raise IndexError("no newest\nitem")
        return super().score(histories)


class Overwrites(Followers):
    def score(self, histories: Histories) -> Tensor:
        scores = super().score(histories)
        histories.items.zero_()
        return scores


class ReadsTheRequest(Followers):
    def score(self, histories: Histories) -> Tensor:
        late = histories.request_times is not None and bool((histories.request_times > 1_000_000).any())
        return super().score(histories) * (2 if late else 1)


class ReadsTheUser(Followers):
    def score(self, histories: Histories) -> Tensor:
        scores = super().score(histories)
        return scores if histories.users is None else scores + histories.users[:, None]


class ReadsTimes(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + float(histories.times.sum())


class ReadsCategories(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + len(self.facts.attributes)


class Boasts(Followers):
    @property
    def information(self) -> list[str]:
        return ["weather"]


class ShowsSeen(Followers):
    def recommend(self, histories: Histories, k: int, condition: Any = None,
                  exclude_seen: bool = True) -> tuple[Tensor, Tensor]:
        return super().recommend(histories, k, condition, exclude_seen=False)


class WorstFirst(Followers):
    def recommend(self, histories: Histories, k: int, condition: Any = None,
                  exclude_seen: bool = True) -> tuple[Tensor, Tensor]:
        ids, values = super().recommend(histories, k, condition, exclude_seen)
        return ids.flip(1), values.flip(1)


class OutOfRange(Followers):
    def recommend(self, histories: Histories, k: int, condition: Any = None,
                  exclude_seen: bool = True) -> tuple[Tensor, Tensor]:
        ids, values = super().recommend(histories, k, condition, exclude_seen)
        return torch.full_like(ids, self.facts.n_items), values


class Repeats(Followers):
    def recommend(self, histories: Histories, k: int, condition: Any = None,
                  exclude_seen: bool = True) -> tuple[Tensor, Tensor]:
        ids, values = super().recommend(histories, k, condition, exclude_seen)
        return ids[:, :1].expand(-1, k), values[:, :1].expand(-1, k)


class Restless(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + torch.rand(1)


class Unseeded(Followers):
    def fit(self, split: Split, seed: int) -> None:
        super().fit(split, seed)
        self.counts += torch.rand(self.counts.shape, generator=torch.Generator().manual_seed(torch.seed() % 2**31))


class BatchNorm(Followers):
    def score(self, histories: Histories) -> Tensor:
        scores = super().score(histories)
        return scores - scores.mean(0)


class OrderSensitive(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + torch.arange(len(histories), dtype=torch.float32)[:, None] ** 2


class CountsPadding(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + float(histories.lengths.max())


class Constant(Followers):
    """Learns nothing: whatever the history, odd items for even users."""

    def score(self, histories: Histories) -> Tensor:
        return -super().score(histories)


class Pickles(Followers):
    def save(self, folder: Path) -> None:
        super().save(folder)
        torch.save(self.counts, folder / "counts.pt")


class Forgets(Followers):
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.counts = tensors["counts"].round(decimals=-1)


class Assumes(Followers):
    """Assumes that there are at least ten items."""

    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + torch.zeros(self.facts.n_items)[9]


class Weightless(Followers):
    n_parameters = 0  # type: ignore[assignment]


class Generates(Followers):
    """Lists of at most seven items."""

    beam = 7  # type: ignore[assignment]

    def search(self, histories: Histories, k: int, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if k > 7:
            raise UsageError("k exceeds the beam")
        return super().search(histories, k, hidden)


class ExceedsItsBeam(Followers):
    beam = 7  # type: ignore[assignment]


class GeneratesTwice(Generates):
    def search(self, histories: Histories, k: int, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ids, values = super().search(histories, k, hidden)
        return ids[:, :1].expand(-1, k), values[:, :1].expand(-1, k)


def test_a_correct_model_with_a_beam_passes() -> None:
    assert failures(Generates) == {}


@pytest.mark.parametrize(("broken", "name", "message"), [
    (ExceedsItsBeam, "recommend", "recommend accepts a k larger than the beam instead of raising UsageError"),
    (GeneratesTwice, "recommend", "recommend gives an item twice in one list"),
    (Nameless, "config", "the class has no name"),
    (Lenient, "config", "Config accepts an unknown key: a mistyped setting would be ignored"),
    (ForeignConfig, "config", "Config does not derive from cpbench.models.base.ModelConfig"),
    (WithoutDefaults, "config", "Config needs values without defaults: 1 validation error"),
    (WrongShape, "scores", "score gave shape (7, 29), expected (7, 30)"),
    (WrongType, "scores", "score gave torch.float64, expected torch.float32"),
    (NaN, "scores", "30 of 210 scores are NaN or infinite"),
    (Crashes, "scores", "IndexError: no newest item"),
    (Overwrites, "scores", "score modifies the histories it was given"),
    (ReadsTheRequest, "information", "scores depend on the request time, which is not declared"),
    (ReadsTheUser, "information", "scores depend on the user, which is not declared"),
    (ReadsTimes, "information", "scores depend on interaction times, which are not declared"),
    (ReadsCategories, "information", "scores depend on item attributes, which are not declared"),
    (Boasts, "information", "information declares ['weather']"),
    (ShowsSeen, "recommend", "exclude_seen is not honoured"),
    (WorstFirst, "recommend", "recommend does not give the best item first"),
    (OutOfRange, "recommend", "recommend gives ids outside the catalogue"),
    (Repeats, "recommend", "recommend gives an item twice in one list"),
    (Restless, "determinism", "scoring the same histories twice gives different scores"),
    (Unseeded, "determinism", "fitting twice with the same seed gives different scores"),
    (BatchNorm, "batches", "a history of 0 items gets other scores beside longer ones than alone"),
    (OrderSensitive, "batches", "the order of the histories in a batch changes their scores"),
    (CountsPadding, "batches", "a history of 0 items gets other scores beside longer ones than alone"),
    (Constant, "learning", "on the checkerboard only 0% of the recommended items have the user's parity"),
    (Pickles, "saving", "save writes counts.pt: only .safetensors and .json are data and never code"),
    (Forgets, "saving", "the loaded model gives other scores than the saved one"),
    (Assumes, "small catalogues", "IndexError: index 9 is out of bounds for dimension 0 with size 1"),
    (Weightless, "parameters", "n_parameters is 0, expected a positive int"),
], ids=lambda value: value.__name__ if isinstance(value, type) else "")
def test_a_broken_model_fails(broken: type[Recommender], name: str, message: str) -> None:
    found = failures(broken)
    assert found[name].startswith(message)
    assert "\n" not in found[name]


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
    (AddsUpAnyhow, "repetition", "the same batch gives items.weight, mix.weight, mix.bias another gradient"),
    (Dozes, "determinism", "scoring the same histories twice gives different scores"),
], ids=lambda value: value.__name__ if isinstance(value, type) else "")
def test_a_broken_neural_model_fails(broken: type[Recommender], name: str, message: str) -> None:
    assert failures(broken)[name].startswith(message)


@pytest.mark.parametrize("correct", [Averages, Punctual])
def test_a_correct_neural_model_passes(correct: type[Recommender]) -> None:
    assert failures(correct) == {}
