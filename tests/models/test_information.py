"""What a model sees without saying so, `check-model` names."""

import pytest
import torch
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.models.base import Histories, Recommender
from tests.models.failures import failures
from tests.models.followers import Followers


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


class ReadsReleases(Followers):
    def score(self, histories: Histories) -> Tensor:
        return super().score(histories) + (self.facts.released is not None)


class ReadsPrices(Followers):
    def fit(self, split: Split, seed: int) -> None:
        super().fit(split, seed)
        if "price" in split.dataset.item_table.columns:
            self.counts += torch.tensor(split.dataset.item_table["price"].to_list())


class ReadsTitles(Followers):
    def fit(self, split: Split, seed: int) -> None:
        super().fit(split, seed)
        self.counts += torch.tensor([float(len(title)) for title in split.dataset.item_table["title"]])


class Boasts(Followers):
    @property
    def information(self) -> list[str]:
        return ["weather"]


class Words(Followers):
    information = "times"  # type: ignore[assignment]


@pytest.mark.parametrize(("secretive", "message"), [
    (ReadsTheRequest, "scores depend on the request time, which is not declared"),
    (ReadsTheUser, "scores depend on the user, which is not declared"),
    (ReadsTimes, "scores depend on interaction times, which are not declared"),
    (ReadsCategories, "scores depend on item attributes, which are not declared"),
    (ReadsReleases, "scores depend on item attributes, which are not declared"),
    (ReadsPrices, "scores depend on item attributes, which are not declared"),
    (ReadsTitles, "scores depend on titles: text, which is not declared"),
    (Boasts, "information declares ['weather']"),
    (Words, "information must be a property that gives a list of words"),
], ids=lambda value: value.__name__ if isinstance(value, type) else "")
def test_what_is_not_declared_may_not_change_a_score(secretive: type[Recommender], message: str) -> None:
    assert failures(secretive)["information"].startswith(message)


@pytest.mark.parametrize("candid", [ReadsCategories, ReadsReleases, ReadsTitles])
def test_what_is_declared_may(candid: type[Recommender]) -> None:
    everything = property(lambda model: ["categories", "text"])
    assert failures(type("Candid", (candid,), {"information": everything})) == {}
