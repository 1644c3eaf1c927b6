import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpbench.errors import CpbenchError
from cpbench.evaluation.ranking import ranks_in, ranks_of
from cpbench.models.base import best
from tests.evaluation import reference

INF = math.inf


def test_ranks_written_out() -> None:
    scores = torch.tensor([
        [5.0, 4.0, 3.0, 2.0],  # target 0: first
        [5.0, 4.0, 3.0, 2.0],  # target 3: last
        [5.0, 4.0, 4.0, 4.0],  # target 2: one better, two equal
        [1.0, 1.0, 1.0, 1.0],  # a constant scorer gets the middle: (1 + 2 + 3 + 4) / 4
        [5.0, 4.0, 3.0, 2.0],  # target 2, with item 0 excluded
        [5.0, 5.0, 5.0, 2.0],  # target 2, with an equal item excluded
        [5.0, 4.0, 3.0, 2.0],  # target 0 is excluded itself
        [-INF, 0.0, -INF, 1.0],  # minus infinity is a score like others
    ])
    excluded = torch.zeros(8, 4, dtype=torch.bool)
    excluded[4, 0] = excluded[5, 0] = excluded[6, 0] = True
    ranks = ranks_of(scores, torch.tensor([0, 3, 2, 0, 2, 2, 0, 0]), excluded)
    assert ranks.dtype == torch.float64
    assert ranks.tolist() == [1, 4, 3, 2.5, 2, 1.5, INF, 3.5]


def test_nothing_excluded_is_the_same_as_no_mask() -> None:
    scores = torch.tensor([[0.1, 0.3, 0.3]])
    target = torch.tensor([1])
    assert ranks_of(scores, target).tolist() == ranks_of(scores, target, torch.zeros(1, 3, dtype=torch.bool)).tolist()


def test_one_nan_anywhere_is_an_error() -> None:
    scores = torch.zeros(3, 5)
    scores[2, 4] = torch.nan
    with pytest.raises(CpbenchError, match="NaN is an error, not a rank"):
        ranks_of(scores, torch.tensor([0, 0, 0]))


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float]], list[int], list[set[int]]]:
    n_items = draw(st.integers(1, 12))
    rows = draw(st.integers(1, 5))
    score = st.sampled_from([-INF, -1.5, 0.0, 0.25, 1.0, 1e30])  # few values: many ties
    scores = draw(st.lists(st.lists(score, min_size=n_items, max_size=n_items), min_size=rows, max_size=rows))
    item = st.integers(0, n_items - 1)
    targets = draw(st.lists(item, min_size=rows, max_size=rows))
    excluded = draw(st.lists(st.sets(item), min_size=rows, max_size=rows))
    return scores, targets, excluded


@given(problems())
def test_agrees_with_the_slow_reference(problem: tuple[list[list[float]], list[int], list[set[int]]]) -> None:
    scores, targets, excluded = problem
    mask = torch.zeros(len(scores), len(scores[0]), dtype=torch.bool)
    for row, items in enumerate(excluded):
        mask[row, list(items)] = True
    found = ranks_of(torch.tensor(scores), torch.tensor(targets), mask).tolist()
    # through float32, as the tensor stores it: 1e30 is rounded alike everywhere, so ties stay ties
    assert found == [reference.rank(*row) for row in zip(scores, targets, excluded, strict=True)]


@given(problems(), st.randoms())
def test_ranks_do_not_depend_on_the_numbering_of_items(problem: tuple, random) -> None:  # type: ignore[no-untyped-def]
    scores, targets, _ = problem
    order = list(range(len(scores[0])))
    random.shuffle(order)
    shuffled = torch.tensor(scores)[:, order]
    moved = torch.tensor([order.index(target) for target in targets])
    assert torch.equal(ranks_of(torch.tensor(scores), torch.tensor(targets)), ranks_of(shuffled, moved))


@given(st.integers(1, 60))
def test_ties_gain_nothing_on_average(n_items: int) -> None:
    """Over all targets a constant scorer's mean rank is that of a random order."""
    ranks = ranks_of(torch.zeros(n_items, n_items), torch.arange(n_items))
    assert ranks.mean().item() == (n_items + 1) / 2


def test_the_place_in_a_generated_list() -> None:
    lists = torch.tensor([[3, 1, 2], [3, 1, 2], [3, 1, 2], [3, 1, 2]])
    scores = torch.tensor([[3.0, 2.0, 1.0]] * 3 + [[3.0, -INF, -INF]])
    assert ranks_in(lists, scores, torch.tensor([3, 2, 0, 1])).tolist() == [1, 3, INF, INF]
    with pytest.raises(CpbenchError, match="NaN"):
        ranks_in(lists, scores * math.nan, torch.tensor([3, 2, 0, 1]))


def test_equals_in_a_generated_list_share_the_middle_rank() -> None:
    lists, scores = torch.arange(4).expand(4, -1), torch.tensor([[5.0, 2.0, 2.0, 1.0]] * 3 + [[1.0] * 4])
    assert ranks_in(lists, scores, torch.tensor([0, 1, 3, 0])).tolist() == [1, 2.5, 4, 2.5]


@given(problems())
def test_a_beam_as_wide_as_the_catalogue_ranks_as_scores_do(problem: tuple) -> None:  # type: ignore[type-arg]
    rows, targets, excluded = problem
    hidden = torch.zeros(len(rows), len(rows[0]), dtype=torch.bool)
    for row, items in enumerate(excluded):
        hidden[row, list(items)] = True
    scores = torch.tensor(rows).nan_to_num(neginf=-2.0)  # in a list minus infinity marks what may not be shown
    ids, values = best(scores, scores.shape[1], hidden)
    assert torch.equal(ranks_in(ids, values, torch.tensor(targets)), ranks_of(scores, torch.tensor(targets), hidden))


@given(problems(), st.integers(1, 12))
def test_the_best_are_those_of_a_stable_sort(problem: tuple, k: int) -> None:  # type: ignore[type-arg]
    scores = torch.tensor(problem[0])
    k = min(k, scores.shape[1])
    order = torch.sort(scores, dim=1, descending=True, stable=True)
    ids, values = best(scores, k)
    assert torch.equal(ids, order.indices[:, :k]) and torch.equal(values, order.values[:, :k])
