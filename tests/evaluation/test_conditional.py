"""evaluate(given=...): the same numbers as one event at a time in plain Python, for every way of obeying."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Events, Protocol, Split, split
from cpbench.data.synthetic import from_sequences, random_dataset
from cpbench.errors import UsageError
from cpbench.evaluation.conditional import CUTOFFS, HOWS, Given, How, consistency, with_conditions
from cpbench.evaluation.evaluate import evaluate
from cpbench.models.base import Facts, Histories, ModelConfig
from cpbench.models.conditions import Conditions, facts_with_conditions
from tests.evaluation import reference
from tests.evaluation.test_evaluate import Fixed, Hashed


class Obedient(Hashed):
    """Scores that depend on everything: history, value and time. `distinct` leaves no ties."""

    name = "obedient"
    distinct = False

    def one(self, items: list[int], times: list[int], request: int, value: int = -1) -> list[float]:
        scores = super().one(items, [*times, 31 * value], request)
        return [score + item / 1000 for item, score in enumerate(scores)] if self.distinct else scores

    def score_given(self, histories: Histories, values: Tensor, times: Tensor | None = None) -> Tensor:
        assert times is not None
        bounds = histories.offsets.tolist()
        return torch.tensor([
            self.one(histories.items[first:last].tolist(), histories.times[first:last].tolist(), now, value)
            for first, last, now, value in zip(bounds, bounds[1:], times.tolist(), values.tolist(), strict=False)])


class Distinct(Obedient):
    distinct = True


def carriers_slowly(data: Dataset, facts: Facts, name: str, value: int, now: int) -> set[int]:
    if name == "freshness":
        assert facts.released is not None
        edges = [7, 30, 365, math.inf]
        days = [(now - int(time)) / 86_400 for time in facts.released]
        return {item for item, age in enumerate(days) if sum(age > edge for edge in edges) == value}
    found = facts.attributes[name]
    return {item for item in range(data.n_items) if value in found.values[found.offsets[item]:found.offsets[item + 1]]}


def slowly(model: Obedient, made: Split, events: Events, given: Given,
           facts: Facts) -> tuple[list[float], dict[str, float]]:
    """Ranks, and CC@K where scores are distinct."""
    data, protocol, ranks = made.dataset, made.protocol, []
    matching: dict[int, list[float]] = {k: [] for k in CUTOFFS if k <= data.n_items}
    for target, start, end, value in zip(events.target.tolist(), events.start.tolist(), events.end.tolist(),
                                         given.values.tolist(), strict=True):
        now = int(data.times[target])
        items = [int(item) for item in data.items[start:end]]
        obeys = given.how in ("model", "model+filter")
        scores = model.one(items, [int(time) for time in data.times[start:end]], now, value if obeys else -1)
        carriers = carriers_slowly(data, facts, given.conditions.name, value, now)
        assert int(data.items[target]) in carriers
        excluded = set(items) if protocol.exclude_seen else set()
        if given.how == "post-filter":
            best = sorted(set(range(data.n_items)) - excluded, key=lambda item: (-scores[item], item))[:50]
            excluded = set(range(data.n_items)) - set(best) | excluded
        if given.how in ("post-filter", "hard-filter", "model+filter"):
            excluded |= set(range(data.n_items)) - carriers
        ranks.append(reference.rank(scores, int(data.items[target]), excluded))
        shown = sorted(set(range(data.n_items)) - excluded, key=lambda item: -scores[item])
        for k, shares in matching.items():
            shares.append(sum(item in carriers for item in shown[:k]) / k)
    return ranks, {f"CC@{k}": sum(shares) / len(shares) for k, shares in matching.items()}


def posed(data: Dataset, protocol: Protocol, name: str, how: How) -> tuple[Split, Events, Given, Facts]:
    made = split(data, protocol)
    facts = facts_with_conditions(made)
    events, given = with_conditions(made, made.test, Conditions(facts, name))
    return made, events, given.obeyed(how), facts


PROTOCOLS = [Protocol(), Protocol(exclude_seen=False), Protocol(serving_lag=3600), Protocol(split="temporal")]


@pytest.mark.parametrize("n_items", [30, 70, 140])
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["plain", "seen kept", "lag", "temporal"])
@pytest.mark.parametrize("how", HOWS)
def test_every_way_of_obeying_equals_the_slow_reference(how: How, protocol: Protocol, n_items: int) -> None:
    data = random_dataset(n_users=40, n_items=n_items)
    for name in ("genre", "popularity", "freshness"):
        made, events, given, facts = posed(data, protocol, name, how)
        for kind in (Obedient, Distinct):
            model = kind(ModelConfig(), Facts.of(data))
            found = evaluate(model, made, events, given=given)
            ranks, matching = slowly(model, made, events, given, facts)
            assert found.ranks.tolist() == ranks
            if kind is Distinct:
                assert {key: value for key, value in found.metrics.items() if key.startswith("CC")} == pytest.approx(
                    matching)
    assert get_args(How) == HOWS


def test_the_post_filter_retrieves_fifty_even_where_all_scores_are_equal() -> None:
    """Else a model that scores most items 0 would seem to retrieve the whole catalogue."""
    class Flat(Fixed):
        def score(self, histories: Histories) -> Tensor:
            return torch.zeros(len(histories), self.facts.n_items)

    genres = [["even" if item % 2 == 0 else "odd"] for item in range(120)]
    data = from_sequences([[0, 2, 4, 60], [1, 3, 5, 7]], 120, genres=genres)
    made, events, given, _ = posed(data, Protocol(), "genre", "post-filter")
    found = evaluate(Flat(ModelConfig(), Facts.of(data)), made, events, given=given)
    # 50 unseen items: 1, 3 and 5..52 for the first user (24 even ones; its 60 is missed), 0, 2, 4, 6..52 for the other
    assert found.ranks.tolist() == [math.inf, 1 + 22 / 2]
    assert found.metrics["CC@50"] == pytest.approx((24 + 23) / 2 / 50)
    assert found.metrics["CC@20"] == 1.0


def test_a_place_that_nothing_may_fill_is_not_exposure() -> None:
    genres = [["rare" if item < 3 else "common"] for item in range(60)]
    data = from_sequences([[0, 10, 11, 1], [2, 12, 13, 0]], 60, genres=genres)  # two of three rare ones may be shown
    made, events, given, _ = posed(data, Protocol(), "genre", "hard-filter")
    found = evaluate(Distinct(ModelConfig(), Facts.of(data)), made, events, given=given).metrics
    assert found["coverage@10"] == 3 / 60 and found["CC@10"] == 0.2
    assert "diversity@10" not in found  # no list is whole


def test_the_order_and_size_of_blocks_change_nothing() -> None:
    data = random_dataset(n_users=50, n_items=70)
    for how in HOWS:
        made, events, given, _ = posed(data, Protocol(), "freshness", how)
        model = Distinct(ModelConfig(), Facts.of(data))
        whole = evaluate(model, made, events, given=given)
        for block in (1, 3, 1000):
            part = evaluate(model, made, events, block=block, given=given)
            assert part.ranks.tolist() == whole.ranks.tolist() and part.metrics == whole.metrics


def test_events_without_a_value_are_dropped_and_the_draw_is_the_seed_s() -> None:
    data = random_dataset(n_users=200)
    made = split(data, Protocol())
    conditions = Conditions(facts_with_conditions(made), "genre")
    events, given = with_conditions(made, made.test, conditions)
    member = data.attribute("genre").matrix()
    kept = [place for place, target in enumerate(made.test.target) if member[data.items[target]].any()]
    assert 0 < len(kept) < len(made.test)
    for name in ("users", "start", "end", "target"):
        assert getattr(events, name).tolist() == getattr(made.test, name)[kept].tolist()
    assert all(member[data.items[target], value]
               for target, value in zip(events.target, given.values.tolist(), strict=True))
    torch.manual_seed(99)
    assert torch.equal(with_conditions(made, made.test, conditions)[1].values, given.values)
    assert not torch.equal(with_conditions(made, made.test, conditions, seed=1)[1].values, given.values)


def test_no_event_with_a_value_is_a_clear_error() -> None:
    data = from_sequences([[0, 1, 2, 3]] * 2, 4, genres=[["a"], ["b"], ["a"], []])
    made = split(data, Protocol())
    with pytest.raises(UsageError, match="next item carries a value of 'genre'"):
        with_conditions(made, made.test, Conditions(Facts.of(data), "genre"))


def test_a_model_that_takes_no_condition_says_what_to_use() -> None:
    data = random_dataset()
    made, events, given, _ = posed(data, Protocol(), "genre", "model")
    with pytest.raises(UsageError, match="hashed takes no condition; use post-filter or hard-filter"):
        evaluate(Hashed(ModelConfig(), Facts.of(data)), made, events, given=given)


def test_consistency_written_out() -> None:
    matches = torch.zeros(2, 20, dtype=torch.bool)
    matches[0, :10] = True  # ten matching, then ten that do not or that a filter left empty
    matches[1, [0, 15]] = True
    assert consistency(matches.numpy()) == {"CC@10": (10 + 1) / 20, "CC@20": (10 + 2) / 40}


def test_only_accuracy_is_the_same_ranks() -> None:
    data = random_dataset(n_items=70)
    made, events, given, _ = posed(data, Protocol(), "genre", "model")
    model = Obedient(ModelConfig(), Facts.of(data))
    found = evaluate(model, made, events, given=given, only_accuracy=True)
    assert found.ranks.tolist() == evaluate(model, made, events, given=given).ranks.tolist()
    assert not any(name.startswith("CC") for name in found.metrics)
