"""evaluate(): the same numbers as one event at a time in plain Python, under every protocol."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Events, Protocol, Split, split
from cpbench.data.synthetic import from_sequences, random_dataset
from cpbench.errors import CpbenchError
from cpbench.evaluation.evaluate import evaluate
from cpbench.models.base import Facts, Histories, ModelConfig, Recommender
from tests.evaluation import reference


class Hashed(Recommender):
    """Arbitrary scores with many ties that depend on every item of the history, its times and its request time."""

    name = "hashed"

    def one(self, items: list[int], times: list[int], request: int) -> list[float]:
        key = sum((place + 1) * (item + 3) for place, item in enumerate(items)) + sum(times) % 97 + request % 89
        return [float((key * (item + 7) + item * item) % 11) for item in range(self.facts.n_items)]

    def score(self, histories: Histories) -> Tensor:
        assert histories.request_times is not None
        bounds = histories.offsets.tolist()
        return torch.tensor([
            self.one(histories.items[first:last].tolist(), histories.times[first:last].tolist(), request)
            for first, last, request in zip(bounds, bounds[1:], histories.request_times.tolist(), strict=False)])


def build(dataset: Dataset) -> Hashed:
    return Hashed(ModelConfig(), Facts.of(dataset))


def slowly(model: Hashed, made: Split, events: Events) -> list[float]:
    """One event at a time, from the protocol's words: what was logged before the target and longer ago than the lag."""
    data, protocol, ranks = made.dataset, made.protocol, []
    for user, target in zip(events.users.tolist(), events.target.tolist(), strict=True):
        now = int(data.times[target])
        visible = [place for place in range(int(data.offsets[user]), target)
                   if not protocol.serving_lag or data.times[place] < now - protocol.serving_lag]
        items = [int(data.items[place]) for place in visible]
        scores = model.one(items, [int(data.times[place]) for place in visible], now)
        ranks.append(reference.rank(scores, int(data.items[target]), set(items) if protocol.exclude_seen else set()))
    return ranks


PROTOCOLS = [Protocol(), Protocol(exclude_seen=False), Protocol(serving_lag=60), Protocol(serving_lag=3600),
             Protocol(serving_lag=10**9), Protocol(split="temporal"),
             Protocol(split="temporal", targets_per_user=3, exclude_seen=False, serving_lag=60)]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_ranks_equal_the_slow_reference(protocol: Protocol) -> None:
    data = random_dataset(n_users=50)
    made, model = split(data, protocol), build(data)
    for events in (made.valid, made.test):
        found = evaluate(model, made, events)
        expected = slowly(model, made, events)
        assert found.ranks.tolist() == expected
        assert found.metrics["HR@10"] == pytest.approx(reference.hit_rate(expected, 10))
        assert found.metrics["NDCG@10"] == pytest.approx(reference.ndcg(expected, 10))
        assert found.metrics["MRR"] == pytest.approx(reference.mrr(expected))


def test_the_block_size_changes_nothing() -> None:
    data = random_dataset(n_users=50)
    made, model = split(data, Protocol()), build(data)
    whole = evaluate(model, made, made.test)
    for block in (1, 3, 7, 1000):
        part = evaluate(model, made, made.test, block=block)
        assert part.ranks.tolist() == whole.ranks.tolist()
        assert part.metrics == whole.metrics


class Fixed(Recommender):
    """The same scores for every history: the lower the id the better."""

    name = "fixed"

    def score(self, histories: Histories) -> Tensor:
        return -torch.arange(self.facts.n_items, dtype=torch.float32).repeat(len(histories), 1)


def fixed(dataset: Dataset, protocol: Protocol) -> tuple[Fixed, Split]:
    return Fixed(ModelConfig(), Facts.of(dataset)), split(dataset, protocol)


def test_exclude_seen_written_out() -> None:
    #                       train   valid  test
    data = from_sequences([[3, 2,   1,     0],   # nothing above the target: rank 1 either way
                           [0, 1,   2,     5],   # five items above it, three of them seen
                           [4, 0,   1,     4]], 6)  # the target was seen before
    model, made = fixed(data, Protocol(exclude_seen=False))
    assert evaluate(model, made, made.test).ranks.tolist() == [1, 6, 5]
    model, made = fixed(data, Protocol(exclude_seen=True))
    found = evaluate(model, made, made.test)
    assert found.ranks.tolist() == [1, 3, math.inf]
    assert found.metrics["HR@200"] == pytest.approx(2 / 3)
    assert found.metrics["MRR"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert found.notes["target_seen_before_share"] == pytest.approx(1 / 3)


def test_serving_lag_hides_and_unhides() -> None:
    """A seen item inside the lag is not excluded: nobody knows yet that it was seen."""
    times = [[0, 100, 200, 260]]
    data = from_sequences([[4, 5, 0, 3]], 6, times)
    for lag, rank, empty in ((0, 2 + 1, 0), (59, 3, 0), (60, 4, 0), (159, 4, 0), (160, 4, 0), (260, 4, 1)):
        model, made = fixed(data, Protocol(serving_lag=lag))
        found = evaluate(model, made, made.test)
        assert found.ranks.tolist() == [rank], lag
        assert found.notes["empty_history_share"] == empty


def test_notes_count_what_was_never_trained() -> None:
    data = from_sequences([[0, 1, 2, 3], [0, 1, 2, 4], [1, 0, 3, 2]], 5)
    model, made = fixed(data, Protocol())
    notes = evaluate(model, made, made.test).notes
    assert notes == {"events": 3, "empty_history_share": 0, "target_seen_before_share": 0,
                     "targets_unseen_in_training": 3, "users_unseen_in_training": 0}


def test_list_metrics_come_from_the_lists_that_are_shown() -> None:
    data = from_sequences([[0, 1, 2, 3]] * 4, 20, genres=[["a"]] * 20)
    model, made = fixed(data, Protocol())
    found = evaluate(model, made, made.test).metrics
    assert found["coverage@10"] == 10 / 20  # items 3..12 for everybody
    assert found["diversity@10"] == 0
    assert found["novelty@10"] == pytest.approx(-np.log2(1 / (8 + 20)))
    assert set(evaluate(model, made, made.test, only_accuracy=True).metrics) == {
        name for name in found if "/" not in name and name.split("@")[0] in ("HR", "NDCG", "MRR")}


def test_a_catalogue_smaller_than_k() -> None:
    data = from_sequences([[0, 1, 2]], 3)
    model, made = fixed(data, Protocol())
    found = evaluate(model, made, made.test).metrics
    assert found["HR@200"] == 1
    assert found["coverage@3"] <= 1


def test_nan_scores_are_an_error() -> None:
    class Broken(Fixed):
        def score(self, histories: Histories) -> Tensor:
            return super().score(histories) * torch.nan

    data = random_dataset()
    with pytest.raises(CpbenchError, match="NaN"):
        evaluate(Broken(ModelConfig(), Facts.of(data)), split(data, Protocol()), split(data, Protocol()).test)


def test_a_model_of_another_catalogue_is_an_error() -> None:
    model, _ = fixed(from_sequences([[0, 1, 2]], 3), Protocol())
    other = split(random_dataset(), Protocol())
    with pytest.raises(CpbenchError, match="the model was built for 3 items, 'synthetic' has 30"):
        evaluate(model, other, other.test)


def test_scores_of_the_wrong_shape_are_an_error() -> None:
    class Short(Fixed):
        def score(self, histories: Histories) -> Tensor:
            return super().score(histories)[:, 1:]

    data = random_dataset()
    made = split(data, Protocol())
    with pytest.raises(CpbenchError, match=r"fixed.score gave shape \(\d+, 29\), expected \(\d+, 30\)"):
        evaluate(Short(ModelConfig(), Facts.of(data)), made, made.test)


@pytest.mark.parametrize("protocol", [Protocol(horizon=4), Protocol(horizon=4, serving_lag=3600, exclude_seen=False)],
                         ids=["plain", "lag, seen kept"])
def test_the_list_is_ranked_against_every_step_of_the_horizon(protocol: Protocol) -> None:
    """One list a user, made before the first of the H items: each of them is ranked in that same list."""
    data = random_dataset(n_users=50)
    made, model = split(data, protocol), build(data)
    found = evaluate(model, made, made.test, block=7)
    expected = []
    for target, start, end in zip(made.test.target, made.test.start, made.test.end, strict=True):
        items, times = data.items[start:end].tolist(), data.times[start:end].tolist()
        scores = model.one(items, times, int(data.times[target]))
        expected.append([reference.rank(scores, int(item), set(items) if protocol.exclude_seen else set())
                         for item in data.items[target:target + 4]])
    assert found.steps is not None and found.steps.tolist() == expected
    assert found.ranks.tolist() == [row[0] for row in expected]
    for step in range(4):
        assert found.metrics[f"HR@10/step {step + 1}"] == pytest.approx(
            reference.hit_rate([row[step] for row in expected], 10))
    assert found.metrics["HR@20/step 1"] == found.metrics["HR@20"]


def test_validation_looks_at_no_test_item() -> None:
    """What follows a validation event within the horizon is test."""
    data = random_dataset(n_users=50)
    made, model = split(data, Protocol(horizon=3)), build(data)
    found = evaluate(model, made, made.valid, only_accuracy=True)
    assert found.steps is None and not any("step" in name for name in found.metrics)
    changed = data.items.copy()
    changed[made.test.target] = (changed[made.test.target] + 1) % data.n_items
    again = split(replace(data, items=changed), Protocol(horizon=3))
    assert evaluate(model, again, again.valid, only_accuracy=True).metrics == found.metrics


def test_without_a_horizon_there_are_no_steps() -> None:
    data = random_dataset()
    made = split(data, Protocol())
    assert evaluate(build(data), made, made.test).steps is None
