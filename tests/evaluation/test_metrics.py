import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, Success, nDCG
from scipy.sparse import csr_array, eye_array

from cpbench.evaluation.metrics import (
    CUTOFFS,
    accuracies,
    accuracy,
    by_activity,
    by_popularity,
    hit_rate,
    horizon,
    list_metrics,
    ndcg,
    reciprocal_rank,
)
from tests.evaluation import reference

INF = math.inf
RANKS = [1, 2, 1.5, 10, 10.5, 200, 201, INF]


def test_per_event_values_written_out() -> None:
    ranks = np.array(RANKS)
    assert hit_rate(ranks, 1).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert hit_rate(ranks, 10).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert hit_rate(ranks, 200).tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    assert ndcg(ranks, 10) == pytest.approx([1, 0.63092975, 0.75647080, 0.28906483, 0, 0, 0, 0])
    assert reciprocal_rank(ranks) == pytest.approx([1, 1 / 2, 1 / 1.5, 0.1, 1 / 10.5, 0.005, 1 / 201, 0])


def test_means_written_out() -> None:
    found = accuracy(np.array([1, 2, 4, INF]))
    assert set(found) == {f"{metric}@{k}" for metric in ("HR", "NDCG") for k in (1, 5, 10, 20, 50, 100, 200)} | {"MRR"}
    assert found["HR@1"] == found["NDCG@1"] == 0.25
    assert found["HR@5"] == found["HR@200"] == 0.75
    assert found["NDCG@10"] == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(5)) / 4)
    assert found["MRR"] == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)


ranks_strategy = st.lists(st.one_of(st.integers(2, 600).map(lambda twice: twice / 2), st.just(INF)), min_size=1,
                          max_size=30)


@given(ranks_strategy)
def test_accuracy_agrees_with_the_slow_reference(ranks: list[float]) -> None:
    found = accuracy(np.array(ranks))
    for k in CUTOFFS:
        assert found[f"HR@{k}"] == pytest.approx(reference.hit_rate(ranks, k))
        assert found[f"NDCG@{k}"] == pytest.approx(reference.ndcg(ranks, k))
    assert found["MRR"] == pytest.approx(reference.mrr(ranks))


@pytest.mark.parametrize("beam", [None, 20])
def test_many_runs_at_once_are_each_of_them(beam: int | None) -> None:
    draw = np.random.default_rng(1)
    ranks = np.where(draw.random((5, 999)) < 0.3, INF, draw.integers(2, 500, (5, 999)) / 2)
    found = accuracies(ranks, beam)
    assert found == [accuracy(own, beam) for own in ranks]
    for own, values in zip(ranks, found, strict=True):
        expected = {f"{name}@{k}": metric(own, k).mean() for k in CUTOFFS if beam is None or k <= beam
                    for name, metric in (("HR", hit_rate), ("NDCG", ndcg))}
        assert values == expected | ({"MRR": reciprocal_rank(own).mean()} if beam is None else {})


@given(ranks_strategy)
def test_accuracy_keeps_its_order(ranks: list[float]) -> None:
    """HR and NDCG grow with K; NDCG never exceeds HR; everything lies in [0, 1]."""
    found = accuracy(np.array(ranks))
    for metric in ("HR", "NDCG"):
        values = [found[f"{metric}@{k}"] for k in CUTOFFS]
        assert values == sorted(values)
        assert all(0 <= value <= 1 for value in values)
    assert all(found[f"NDCG@{k}"] <= found[f"HR@{k}"] + 1e-12 for k in CUTOFFS)


@given(st.lists(st.one_of(st.integers(1, 250), st.just(INF)), min_size=1, max_size=20))
def test_accuracy_agrees_with_ir_measures(ranks: list[float]) -> None:
    """An independent library, on whole ranks (it has no notion of a shared one)."""
    judged, ranked = [], []
    for event, rank in enumerate(ranks):
        judged.append(ir_measures.Qrel(str(event), "target", 1))
        for place in range(1, 251):
            ranked.append(ir_measures.ScoredDoc(str(event), "target" if place == rank else f"other {place}", -place))
    measures = {f"{name}@{k}": measure @ k for k in CUTOFFS for name, measure in (("HR", Success), ("NDCG", nDCG))}
    theirs = ir_measures.calc_aggregate([*measures.values(), RR], judged, ranked)
    ours = accuracy(np.array(ranks, dtype=np.float64))
    for name, measure in measures.items():
        assert ours[name] == pytest.approx(theirs[measure], abs=1e-9), name
    assert ours["MRR"] == pytest.approx(theirs[RR], abs=1e-9)


def test_activity_terciles_are_of_events_by_training_length() -> None:
    ranks = np.array([1, 20, 20, 1, 20, 1])
    activity = np.array([9, 1, 2, 8, 5, 5])
    found = by_activity(ranks, activity)
    assert (found["HR@10/low"], found["HR@10/middle"], found["HR@10/high"]) == (0, 0.5, 1)
    assert found["NDCG@10/middle"] == 0.5
    assert by_activity(np.array([1.0]), np.array([3]))["HR@10/low"] == 1.0


def test_list_metrics_written_out() -> None:
    lists = np.array([[0, 1], [0, 2]])
    counts = np.array([5, 1, 0, 0])
    membership = csr_array(np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=np.float32))
    found = list_metrics(lists, counts, membership)
    assert found["coverage@2"] == 3 / 4
    assert found["gini@2"] == pytest.approx((1 * 1 + 3 * 2 + (-1) * 1 + (-3) * 0) / (4 * 4))
    assert found["novelty@2"] == pytest.approx(-np.mean(np.log2([0.6, 0.2, 0.6, 0.1])))
    assert found["diversity@2"] == pytest.approx((0.5 + 1.0) / 2)  # nothing in common with an item without genres
    assert "diversity@2" not in list_metrics(lists, counts, None)


@given(st.data())
def test_list_metrics_agree_with_slow_references(data: st.DataObject) -> None:
    n_items = data.draw(st.integers(2, 12))
    k = data.draw(st.integers(2, min(n_items, 5)))
    lists = data.draw(st.lists(st.permutations(range(n_items)).map(lambda order: list(order[:k])), min_size=1,
                               max_size=8))
    counts = data.draw(st.lists(st.integers(0, 50), min_size=n_items, max_size=n_items))
    values = data.draw(st.lists(st.sets(st.integers(0, 3)), min_size=n_items, max_size=n_items))
    membership = csr_array(np.array([[value in carried for value in range(4)] for carried in values], dtype=np.float32))
    found = list_metrics(np.array(lists), np.array(counts), membership)
    assert found[f"coverage@{k}"] == pytest.approx(reference.coverage(lists, n_items))
    assert found[f"gini@{k}"] == pytest.approx(reference.gini(lists, n_items))
    assert found[f"novelty@{k}"] == pytest.approx(reference.novelty(lists, counts))
    assert found[f"diversity@{k}"] == pytest.approx(reference.diversity(lists, values), abs=1e-6)


def test_an_attribute_of_as_many_values_as_items_needs_no_square_matrix() -> None:
    membership = eye_array(300_000, format="csr", dtype=np.float32)
    assert list_metrics(np.array([[0, 7], [5, 7]]), np.ones(300_000), membership)["diversity@2"] == 1.0


def test_extreme_exposures() -> None:
    even = list_metrics(np.array([[0, 1], [2, 3]]), np.ones(4), None)
    assert (even["gini@2"], even["coverage@2"]) == (0, 1)
    one = list_metrics(np.zeros((5, 1), dtype=int), np.ones(4), None)
    assert one["gini@1"] == pytest.approx(3 / 4)  # the largest value that N items allow: 1 - 1 / N


def test_beyond_a_beam_nothing_is_known() -> None:
    ranks = np.array([1.0, 11.0, np.inf])
    known = accuracy(ranks, beam=20)
    assert set(known) == {f"{name}@{k}" for name in ("HR", "NDCG") for k in (1, 5, 10, 20)}
    assert known == {name: value for name, value in accuracy(ranks).items() if name in known}
    assert set(horizon(ranks[:, None], beam=20)) == {"HR@10/step 1", "HR@20/step 1"}


def test_popularity_of_the_target_makes_three_parts():
    ranks, counts = np.array([1.0, 20.0, 20.0, 1.0, 1.0, 20.0]), np.array([9, 1, 2, 5, 6, 30])
    found = by_popularity(ranks, counts)
    assert [found[f"HR@10/{level}"] for level in ("rare", "common", "popular")] == [0.0, 1.0, 0.5]


def test_empty_places_are_shown_to_nobody() -> None:
    counts, membership = np.array([5, 1, 0, 0]), csr_array(np.eye(4, dtype=np.float32))
    found = list_metrics(np.array([[0, 1], [0, -1], [-1, -1]]), counts, membership)
    assert found["coverage@2"] == 2 / 4
    assert found["novelty@2"] == pytest.approx(-np.mean(np.log2([0.6, 0.2, 0.6])))
    assert found["diversity@2"] == 1.0  # of the one whole list
    assert "diversity@2" not in list_metrics(np.array([[0, -1]]), counts, membership)
    assert list_metrics(np.array([[-1, -1]]), counts, membership) == {}
