"""Instructions, their searches and the union of their lists, against loops over one user at a time."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.climber_pilot.serving import (
    HnswIndex,
    Instructions,
    filled,
    instructions,
    recent_times,
    recommend_given,
    union,
)
from cpbench.models.base import Facts, Histories
from cpbench.models.conditions import Conditions
from tests.climber_pilot.test_instructed import CARRIED, EVERY, FACTS, build

HISTORIES = Histories.of_lists([*(items for items, _ in EVERY), []], [*(times for _, times in EVERY), []])


def instructions_slowly(lists: list[list[int]], count: int, window: int) -> list[list[int]]:
    """The most frequent values of the last interactions, of equally frequent ones the latest, then the smaller."""
    found = []
    for items in lists:
        carried = [(place, value) for place, item in enumerate(items[-window:]) for value in CARRIED[item]]
        often, latest = Counter(value for _, value in carried), {value: place for place, value in carried}
        found.append(sorted(often, key=lambda value: (-often[value], -latest[value], value))[:count])
    return found


@settings(deadline=None, max_examples=80)
@given(lists=st.lists(st.lists(st.integers(0, 8), max_size=12), min_size=1, max_size=5), count=st.integers(1, 5),
       window=st.integers(1, 8))
def test_instructions_are_the_most_frequent_values(lists: list[list[int]], count: int, window: int) -> None:
    found = instructions(Conditions(FACTS, "genre"), Histories.of_lists(lists), count, window)
    assert found.values.shape == found.known.shape == (len(lists), count)
    for row, expected in enumerate(instructions_slowly(lists, count, window)):
        assert found.values[row][found.known[row]].tolist() == expected
        assert found.known[row].tolist() == [place < len(expected) for place in range(count)]


def test_of_equally_frequent_values_the_more_recent_comes_first() -> None:
    conditions = Conditions(FACTS, "genre")  # item 0 is rock, 1 tango, 5 folk
    for items, expected in (([0, 1], [1, 0]), ([1, 0], [0, 1]), ([0, 5, 1, 0], [0, 1, 2]), ([2], [0, 1])):
        found = instructions(conditions, Histories.of_lists([items]), 3)
        assert found.values[found.known].tolist() == expected


def test_ages_count_as_they_were_when_the_interaction_happened() -> None:
    day = 86_400
    conditions = Conditions(Facts(2, {}, np.array([0, 0])), "freshness")
    found = instructions(conditions, Histories.of_lists([[0, 1, 0]], [[3 * day, 20 * day, 25 * day]]), 4)
    assert found.values[found.known].tolist() == [1, 0]


def union_slowly(ids: list[list[int]], scores: list[list[float]], k: int) -> list[int]:
    """The lists take turns; what was taken already or may not be shown is passed over."""
    merged: list[int] = []
    for place in range(len(ids[0])):
        for row, score in zip(ids, scores, strict=True):
            if score[place] != float("-inf") and row[place] not in merged:
                merged.append(row[place])
    return (merged + [-1] * k)[:k]


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_the_union_lets_the_lists_take_turns(data: st.DataObject) -> None:
    batch, lists, length, k = (data.draw(st.integers(1, most)) for most in (3, 4, 5, 8))
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    ids = torch.from_numpy(random.integers(0, 9, (batch, lists, length)))
    scores = torch.from_numpy(np.where(random.random((batch, lists, length)) < 0.3, -np.inf, 1.0))
    merged = union(ids, scores, k)
    assert merged.shape == (batch, k)
    for row in range(batch):
        assert merged[row].tolist() == union_slowly(ids[row].tolist(), scores[row].tolist(), k)


@pytest.mark.parametrize("hidden", [False, True])
def test_the_exact_search_gives_what_score_given_ranks_best(hidden: bool) -> None:
    model = build()
    asked = instructions(model.conditions, HISTORIES, 3)
    excluded = HISTORIES.seen(9) if hidden else None
    ids, scores = recommend_given(model, HISTORIES, asked, 9, excluded)
    assert ids.shape == scores.shape == (4, 3, 9)
    assert not asked.known[3].any()  # the user without a history
    for place in range(3):
        every = model.score_given(HISTORIES, asked.values[:, place])
        if excluded is not None:
            every = every.masked_fill(excluded, -torch.inf)
        for row in range(4):
            if not asked.known[row, place]:
                assert torch.isneginf(scores[row, place]).all()
                continue
            best = torch.sort(every[row], descending=True)
            torch.testing.assert_close(scores[row, place], best.values)
            shown = ~torch.isneginf(best.values)
            assert ids[row, place][shown].tolist() == best.indices[shown].tolist()


def test_the_request_s_time_decides_where_it_is_known() -> None:
    day = 86_400
    model = build(facts=replace(FACTS, released=np.arange(9) * 10 * day), condition="freshness")
    history = Histories.of_lists([[0, 1, 2]], [[20 * day, 21 * day, 22 * day]])
    asked = Instructions(torch.tensor([[0]]), torch.tensor([[True]]))
    assert recent_times(history).tolist() == [22 * day]
    plain = recommend_given(model, history, asked, 9)[1]
    now = recommend_given(model, replace(history, request_times=torch.tensor([22 * day])), asked, 9)[1]
    later = recommend_given(model, replace(history, request_times=torch.tensor([400 * day])), asked, 9)[1]
    assert torch.equal(plain, now) and not torch.allclose(plain, later)


def test_the_times_of_the_last_interactions() -> None:
    assert recent_times(Histories.of_lists([[], [1, 2], [], [3], []], [[], [5, 6], [], [7], []])).tolist() == [
        0, 6, 0, 7, 0]
    assert recent_times(Histories.of_lists([[], []])).tolist() == [0, 0]


def test_places_that_no_instruction_fills_go_to_the_general_list() -> None:
    merged = torch.tensor([[5, 2, -1], [-1, -1, -1], [1, 2, 3]])
    assert filled(merged, torch.tensor([[2, 7, 8], [4, 3, 9], [0, 6, 7]])).tolist() == [[5, 2, 7], [4, 3, 9], [1, 2, 3]]


def test_the_approximate_index_finds_the_same_in_a_small_catalogue() -> None:
    pytest.importorskip("faiss")
    model = build()
    index = HnswIndex(model.item_matrix())
    queries = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    scores, ids = (queries @ model.item_matrix().T).topk(5)
    found, values = index.search(queries, 5)
    torch.testing.assert_close(values, scores)
    assert torch.equal(found, ids)
    ids, _ = index.search(torch.zeros(1, 1, 8), 20)
    assert (ids[0, 0, 9:] == -1).all()
