"""Preparation: filters, order, dense ids, counts."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.data.card import Counts, Filters
from cpbench.data.dataset import Dataset
from cpbench.data.prepare import apply_filters, assemble, prepare
from cpbench.errors import UsageError
from tests.data.official import ml_1m, small_card

Row = tuple[str, str, int]
ROWS = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("uvwxyz"), st.integers(0, 4)), max_size=60)


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String, "time": pl.Int64}, orient="row")


def no_items(kept: pl.Series) -> pl.DataFrame:
    return pl.DataFrame(schema={"id": pl.String, "title": pl.String})


def sequences(dataset: Dataset) -> dict[str, list[tuple[str, int]]]:
    """Every user's items and times, by their original names."""
    names = dataset.item_table["id"].to_list()
    return {user: [(names[item], int(time)) for item, time in
                   zip(dataset.items[first:last], dataset.times[first:last], strict=True)]
            for user, first, last in zip(dataset.user_ids, dataset.offsets[:-1], dataset.offsets[1:], strict=True)}


def slow_core(rows: list[Row], k: int) -> list[Row]:
    """The definition: remove whoever has fewer than k, one pass at a time, until nothing changes."""
    while True:
        users, items = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
        kept = [row for row in rows if users[row[0]] >= k and items[row[1]] >= k]
        if kept == rows:
            return rows
        rows = kept


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 4))
def test_the_k_core_is_the_slow_one_in_file_order(rows: list[Row], k: int) -> None:
    assert apply_filters(frame(rows), Filters(k_core=k)).rows() == slow_core(rows, k)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_duplicates_leave_their_first_row(rows: list[Row]) -> None:
    expected = [row for at, row in enumerate(rows) if row[:2] not in {other[:2] for other in rows[:at]}]
    assert apply_filters(frame(rows), Filters(drop_duplicates=True)).rows() == expected


@settings(max_examples=60, deadline=None)
@given(ROWS.filter(bool))
def test_sequences_are_sorted_by_time_and_ties_keep_the_order_of_the_file(rows: list[Row]) -> None:
    dataset = assemble("made-up", frame(rows), no_items, Filters(), {})
    expected: dict[str, list[tuple[str, int]]] = {}
    for user, item, time in rows:
        expected.setdefault(user, []).append((item, time))
    assert sequences(dataset) == {user: sorted(seen, key=lambda pair: pair[1]) for user, seen in expected.items()}
    assert list(dataset.user_ids) == list(expected)  # users by first appearance in the file
    order = [item for user in expected for item, _ in sequences(dataset)[user]]
    assert dataset.item_table["id"].to_list() == list(dict.fromkeys(order))


@settings(max_examples=20, deadline=None)
@given(ROWS.filter(bool))
def test_the_same_rows_give_the_same_fingerprint(rows: list[Row]) -> None:
    made = [assemble("made-up", frame(rows), no_items, Filters(), {"from": place}) for place in ("here", "there")]
    assert made[0].fingerprint == made[1].fingerprint


def test_the_filters_work_in_the_documented_order() -> None:
    """Duplicates first: a pair that occurs twice counts once towards the core."""
    rows = frame([("a", "x", 1), ("a", "x", 2), ("b", "x", 3)])
    assert apply_filters(rows, Filters(drop_duplicates=True, k_core=2)).is_empty()


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"no interaction is left after the filters \(1 users, 1 items, 1 inter"):
        assemble("made-up", frame([("a", "x", 1)]), no_items, Filters(k_core=2), {})


def test_attributes_follow_the_items_and_strangers_are_dropped() -> None:
    table = pl.DataFrame({"id": ["stranger", "y"], "title": ["S", "Y"], "genre": [["s"], ["jazz", "folk"]]})
    dataset = assemble("made-up", frame([("a", "x", 1), ("a", "y", 2)]), lambda _: table, Filters(), {})
    assert dataset.item_table.rows() == [("x", None, []), ("y", "Y", ["jazz", "folk"])]
    assert dataset.attribute("genre").matrix().tolist() == [[False, False], [True, True]]
    assert dataset.manifest["attributes"] == ["genre"]


def test_users_with_one_interaction_are_kept_and_counted() -> None:
    dataset = assemble("made-up", frame([("a", "x", 1), ("b", "x", 1), ("b", "y", 1)]), no_items, Filters(), {})
    assert dataset.n_users == 2
    assert dataset.manifest["users_with_one_interaction"] == 1


RATINGS = [(user, item, 10 * item) for user in range(1, 7) for item in range(1, 6)] + [(1, 9, 5)]


def test_a_card_is_prepared_with_its_filters(tmp_path: Path) -> None:
    archive = ml_1m(tmp_path / "a.zip", RATINGS, "1::One::Drama\n")
    card = small_card("ml-1m", 6, 5, 30, raw=Counts(users=6, items=6, interactions=31))
    dataset = prepare(card, {"archive": archive})
    assert dataset.counts() == {"users": 6, "items": 5, "interactions": 30}
    assert dataset.manifest["raw_counts"] == {"users": 6, "items": 6, "interactions": 31}
    assert dataset.manifest["exclude_seen"] is True
    dataset.save(tmp_path / "saved")
    again = Dataset.load(tmp_path / "saved")
    assert np.array_equal(again.items, dataset.items)
    assert sequences(again) == sequences(dataset)
    assert again.fingerprint == dataset.fingerprint


@pytest.mark.parametrize(("raw", "expected", "message"), [
    (Counts(users=6, items=7, interactions=31), (6, 5, 30),
     "expected 6 users, 7 items, 31 interactions; the files hold 6 users, 6 items, 31 interactions"),
    (None, (6, 5, 29), "expected 6 users, 5 items, 29 interactions; after the filters there are 6 users, 5 items, 30 "),
])
def test_wrong_counts_name_expected_and_found(tmp_path: Path, raw: Counts | None, expected: tuple[int, int, int],
                                              message: str) -> None:
    archive = ml_1m(tmp_path / "a.zip", RATINGS, "1::One::Drama\n")
    with pytest.raises(UsageError) as caught:
        prepare(small_card("ml-1m", *expected, raw=raw), {"archive": archive})
    assert message in str(caught.value)


def test_a_reader_that_does_not_exist() -> None:
    card = small_card("ml-1m", 6, 5, 30).model_copy(update={"reader": "movielens-1n"})
    with pytest.raises(UsageError, match="unknown reader 'movielens-1n'; did you mean 'movielens-1m'"):
        prepare(card, {})


def test_items_without_a_title_column() -> None:
    rows = frame([("a", "x", 1), ("a", "y", 2)])
    with pytest.raises(UsageError, match="the reader's items lack the text column title; they have id, genre"):
        assemble("odd", rows, lambda kept: pl.DataFrame({"id": kept, "genre": [["g"]] * len(kept)}), Filters(), {})
