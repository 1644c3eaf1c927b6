"""evaluate_lists(): the same numbers as one list at a time in plain Python."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.data.protocol import Protocol, Split, split
from cpbench.data.synthetic import from_sequences
from cpbench.errors import UsageError
from cpbench.evaluation.evaluate import Evaluation
from cpbench.evaluation.lists import evaluate_lists
from tests.evaluation import reference

N = 20
LISTS = st.lists(st.tuples(st.one_of(st.integers(0, N - 1), st.none()), st.integers(0, 3)), max_size=N,
                 unique_by=lambda entry: object() if entry[0] is None else entry[0])
#                      train    valid test
SEQUENCES = [[3, 2, 1, 5,       4,    0],
             [0, 1, 6, 6,       2,    5],
             [7, 8, 9, 1,       1,    7],  # the target was seen before
             [2, 3, 4, 8,       9,   19]]

Entries = list[tuple[int | None, float]]


def found(lists: list[Entries], **protocol) -> tuple[Evaluation, Split]:
    made = split(from_sequences(SEQUENCES, N, genres=[[f"g{item % 3}"] for item in range(N)]), Protocol(**protocol))
    rows = pl.DataFrame([(event, item, float(score)) for event, entries in enumerate(lists) for item, score in entries],
                        schema={"event": pl.Int64, "item": pl.Int64, "score": pl.Float64}, orient="row")
    return evaluate_lists(made, made.test, rows), made


def slowly(entries: Entries, target: int, seen: set[int]) -> float:
    left = [(item, score) for item, score in entries if item not in seen]
    places = {item: place for place, (item, _) in enumerate(left) if item is not None}
    return reference.rank([score for _, score in left], places[target], set()) if target in places else math.inf


@settings(deadline=None)
@given(st.lists(LISTS, min_size=4, max_size=4).filter(any), st.booleans(), st.integers(1, 2))
def test_ranks_equal_the_slow_reference(lists: list[Entries], exclude_seen: bool, horizon: int) -> None:
    try:
        result, made = found(lists, exclude_seen=exclude_seen, horizon=horizon)
    except UsageError:  # all of it was seen
        assert exclude_seen and all(
            item in SEQUENCES[event][:6 - horizon] for event, entries in enumerate(lists) for item, _ in entries)
        return
    data, expected = made.dataset, []
    for event, (start, end) in enumerate(zip(made.test.start, made.test.end, strict=True)):
        seen = set(data.items[start:end].tolist()) if exclude_seen else set()
        expected.append([slowly(lists[event], int(data.items[end + step]), seen) for step in range(horizon)])
    steps = result.ranks[:, None] if result.steps is None else result.steps
    assert steps.tolist() == expected
    beam = result.notes.get("beam", N)
    assert {int(name.partition("@")[2]) for name in result.metrics if name.startswith("HR@") and "/" not in name} == {
        k for k in (1, 5, 10, 20, 50, 100, 200) if k <= beam or "beam" not in result.notes}
    for name, value in result.metrics.items():
        if name.startswith("HR@") and "/" not in name:
            assert value == pytest.approx(reference.hit_rate([row[0] for row in expected], int(name[3:])))


def best(*items: int | None) -> Entries:
    return [(item, -place) for place, item in enumerate(items)]


def test_what_a_reader_must_know_is_counted() -> None:
    result, _ = found([best(3, 0, 10, 11), best(12, None, 5), [(10, 1), (7, 1), (12, 1)], []])
    assert result.ranks.tolist() == [1, 3, math.inf, math.inf]  # 3 was seen, and so was the target 7
    notes = result.notes
    assert notes["beam"] == 3 and notes["events"] == 4 and notes["seen_items_removed"] == 2
    assert notes["unknown_items"] == 1 and notes["lists_missing"] == 1
    assert notes["lists_short"] == 1 and notes["lists_ending_in_a_tie"] == 1
    assert set(result.metrics) == {"HR@1", "NDCG@1", "coverage@3", "gini@3", "novelty@3", "diversity@3"}
    assert result.metrics["HR@1"] == 0.25 and result.metrics["coverage@3"] == 5 / N


def test_seen_items_stay_where_the_protocol_keeps_them() -> None:
    result, _ = found([best(3, 0), best(12, 5), [(10, 1), (7, 1)], best(1, 2)], exclude_seen=False)
    assert result.ranks.tolist() == [2, 2, 1.5, math.inf]
    assert result.notes["seen_items_removed"] == 0 and result.notes["beam"] == 2


def test_lists_of_all_that_may_be_shown_rank_the_whole_catalogue() -> None:
    everything = best(*range(N))
    for exclude_seen in (True, False):
        whole, _ = found([everything] * 4, exclude_seen=exclude_seen)
        assert "beam" not in whole.notes and {"MRR", "HR@200"} <= set(whole.metrics)
        assert whole.notes["lists_short"] == whole.notes["lists_ending_in_a_tie"] == 0
    part, _ = found([everything, everything, everything, everything[:-1]])
    assert "MRR" not in part.metrics and part.notes["lists_short"] == 1 and part.notes["beam"] == 15


def test_the_beam_is_the_median_so_that_one_odd_list_changes_nothing() -> None:
    usual = [best(*range(10)) for _ in range(4)]
    for odd in (best(0), best(*range(N))):
        result, _ = found([*usual[:3], odd], exclude_seen=False)
        assert result.notes["beam"] == 10 and result.notes["lists_short"] == (len(odd) < 10)


def test_equal_scores_are_shown_in_the_order_of_the_rows() -> None:
    lists: list[Entries] = [[(item, 0.0) for item in range(N - 1, -1, -1)]] * 4
    result, made = found(lists, exclude_seen=False)
    assert (result.ranks == (N + 1) / 2).all()
    assert result.metrics["coverage@10"] == 0.5  # the same ten for everybody: 19 down to 10
    share = (made.train_counts[10:] + 1) / (made.train_counts.sum() + N)
    assert result.metrics["novelty@10"] == pytest.approx(-np.log2(share).mean())


def test_nothing_left_is_refused() -> None:
    with pytest.raises(UsageError, match="every recommended item was seen by its user before"):
        found([best(3), best(0), best(9), []])
