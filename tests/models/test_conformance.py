"""Every check of the conformance suite that concerns all models can fail, and correct models pass."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.errors import UsageError
from cpbench.models.base import Facts, Histories, ModelConfig, Recommender
from tests.models.failures import failures
from tests.models.followers import Followers


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


class DrawsItsStart(Followers):
    def fit(self, split: Split, seed: int) -> None:
        super().fit(split, seed)
        self.counts += torch.rand(self.counts.shape, generator=torch.Generator().manual_seed(seed)) / 100


class SaysSo(DrawsItsStart):
    seeded = True


class CountsTheTest(Followers):
    def fit(self, split: Split, seed: int) -> None:
        super().fit(replace(split, train_end=split.dataset.offsets[1:]), seed)


class CountsOneTooMany(Followers):
    def fit(self, split: Split, seed: int) -> None:
        super().fit(replace(split, train_end=np.minimum(split.train_end + 1, split.dataset.offsets[1:])), seed)


class Meddles(Followers):
    """Changes the split that other models of the same command will get."""

    def fit(self, split: Split, seed: int) -> None:
        ends = split.train_end
        ends -= 1
        super().fit(split, seed)


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


def test_a_model_that_says_that_it_uses_its_seed_passes() -> None:
    assert failures(SaysSo) == {}


class Tied(Followers):
    def tensors(self) -> dict[str, Tensor]:
        return {"counts": self.counts, "again": self.counts}


def test_two_names_of_the_same_numbers_can_be_saved() -> None:
    assert failures(Tied) == {}


@pytest.mark.parametrize("item", [-1, 30])
def test_a_history_with_an_id_that_the_catalogue_lacks(item: int) -> None:
    model = Followers(Followers.Config(), Facts(30, {}))
    with pytest.raises(UsageError, match=r"a history holds an item id outside 0\.\.29"):
        model.recommend(Histories.of_lists([[1, item]]), 3)


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
    (ShowsSeen, "recommend", "exclude_seen is not honoured"),
    (WorstFirst, "recommend", "recommend does not give the best item first"),
    (OutOfRange, "recommend", "recommend gives ids outside the catalogue"),
    (Repeats, "recommend", "recommend gives an item twice in one list"),
    (Restless, "determinism", "scoring the same histories twice gives different scores"),
    (Unseeded, "determinism", "fitting twice with the same seed gives different scores"),
    (DrawsItsStart, "determinism", "another seed gives other scores, which the class does not declare: seeded = True"),
    (CountsTheTest, "held out", "scores depend on validation or test interactions"),
    (CountsOneTooMany, "held out", "scores depend on validation or test interactions"),
    (Meddles, "scores", "ValueError: output array is read-only"),
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
