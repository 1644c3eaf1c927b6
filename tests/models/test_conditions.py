"""Conditions: which items satisfy what, and when, against plain sets."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.data.dataset import Attribute
from cpbench.data.protocol import Protocol, split
from cpbench.data.synthetic import from_sequences, random_dataset
from cpbench.errors import UsageError
from cpbench.models.base import Facts
from cpbench.models.conditions import (
    AGES,
    BANDS,
    Conditions,
    condition_names,
    facts_with_conditions,
    require_condition,
)
from tests.random_data import ragged

DAY = 86_400


def attribute(carried: list[set[int]], n_values: int) -> Attribute:
    values = [value for each in carried for value in sorted(each)]
    return Attribute([f"v{value}" for value in range(n_values)], np.array(values, np.int32),
                     np.concatenate([[0], np.cumsum([len(each) for each in carried])]))


def of(carried: list[set[int]], n_values: int) -> Conditions:
    return Conditions(Facts(len(carried), {"genre": attribute(carried, n_values)}), "genre")


CARRIED = st.integers(1, 5).flatmap(lambda n: st.tuples(
    st.lists(st.sets(st.integers(0, n - 1)), min_size=1, max_size=8), st.just(n)))


@settings(deadline=None, max_examples=60)
@given(case=CARRIED, seed=st.integers(0, 99))
def test_carrying_is_membership(case: tuple[list[set[int]], int], seed: int) -> None:
    carried, n_values = case
    conditions = of(carried, n_values)
    assert len(conditions) == n_values
    every = conditions.carriers(torch.arange(n_values), torch.zeros(n_values, dtype=torch.int64))
    assert every.tolist() == [[value in each for each in carried] for value in range(n_values)]
    table = conditions.carries(torch.arange(len(carried))[:, None], torch.arange(n_values), torch.zeros(1, 1))
    assert table.tolist() == every.T.tolist()
    items = torch.arange(len(carried)).repeat(2).view(2, -1)
    values, has = conditions.draw(items, items * 0, torch.Generator().manual_seed(seed))
    again = conditions.draw(items, items * 0, torch.Generator().manual_seed(seed))
    assert torch.equal(values, again[0]) and torch.equal(has, again[1])
    for row in range(2):
        for item, each in enumerate(carried):
            assert bool(has[row, item]) == bool(each)
            assert not each or int(values[row, item]) in each


def test_a_draw_is_uniform_over_what_the_item_carries() -> None:
    conditions = of([{0, 2, 3}, set(), {1}], 4)
    items = torch.tensor([0, 1, 2]).repeat(6000)
    values, has = conditions.draw(items, items * 0, torch.Generator().manual_seed(1))
    counts = torch.bincount(values[items == 0], minlength=4)
    assert counts[1] == 0 and (counts[[0, 2, 3]] - 2000).abs().max() < 200  # five standard deviations
    assert values[items == 2].unique().tolist() == [1]
    assert not has[items == 1].any() and has[items != 1].all()


def test_a_lot_of_zero_still_draws_the_only_value(monkeypatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.zeros(*shape))
    values, has = of([{2}, set()], 3).draw(torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert values[0] == 2 and has.tolist() == [True, False]


def test_ages_are_bands_with_closed_upper_edges() -> None:
    release = 1_000_000_000
    conditions = Conditions(Facts(1, {}, np.array([release])), "freshness")
    assert conditions.names == list(AGES) and conditions.by_age
    for age, band in ((-5 * DAY, 0), (0, 0), (7 * DAY, 0), (7 * DAY + 1, 1), (30 * DAY, 1), (30 * DAY + 1, 2),
                      (365 * DAY, 2), (365 * DAY + 1, 3), (10_000 * DAY, 3)):
        now = torch.tensor([release + age])
        item = torch.tensor([0])
        assert [bool(conditions.carries(item, torch.tensor([value]), now)) for value in range(4)] == [
            value == band for value in range(4)], age
        assert conditions.carriers(torch.tensor([band]), now).tolist() == [[True]]
        assert [int(part) for part in conditions.draw(item, now)] == [band, 1]


def test_each_request_has_its_own_clock() -> None:
    conditions = Conditions(Facts(3, {}, np.array([0, 10 * DAY, 100 * DAY])), "freshness")
    found = conditions.carriers(torch.tensor([0, 1, 2]), torch.tensor([12, 20, 130]) * DAY)
    assert found.tolist() == [[False, True, True], [True, True, False], [True, True, False]]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), users=st.integers(3, 30))
def test_popularity_bands_partition_the_catalogue_in_order(seed: int, users: int) -> None:
    made = split(ragged(users, seed), Protocol())
    bands = Conditions(facts_with_conditions(made), "popularity")
    assert tuple(bands.names) == BANDS
    member, counts = bands.member.numpy(), made.train_counts
    assert (member.sum(1) == 1).all()
    inside = [counts[member[:, band]] for band in range(3)]
    for upper, lower in ((0, 1), (1, 2)):
        assert not len(inside[upper]) or not len(inside[lower]) or inside[upper].min() >= inside[lower].max()
    head, middle = inside[0].sum(), inside[1].sum()
    total, largest = counts.sum(), counts.max()
    assert total / 3 <= head < total / 3 + largest  # the item that crosses the line still belongs to it
    assert 2 * total / 3 <= head + middle < 2 * total / 3 + largest
    assert member[counts == 0, 2].all()


def test_names_of_values_and_their_nearest() -> None:
    genre = Attribute(["Rock", "Tango"], np.array([0], np.int32), np.array([0, 1]))
    conditions = Conditions(Facts(1, {"genre": genre}), "genre")
    assert conditions.value("tango") == conditions.value("TANGO") == 1
    with pytest.raises(UsageError, match="unknown genre 'tangoo'; did you mean 'Tango'"):
        conditions.value("tangoo")
    conditions.names = ["ROCK", "Rock"]
    assert [conditions.value(name) for name in ("ROCK", "Rock", "rock")] == [0, 1, 0]


def test_what_may_be_asked_for() -> None:
    genre = attribute([{0}, {1}], 2)
    bare, dated = Facts(2, {"genre": genre}), Facts(2, {"genre": genre}, np.array([1, 2]))
    assert condition_names(bare) == ["genre"] and condition_names(dated) == ["genre", "freshness"]
    require_condition("genre", bare)
    require_condition("freshness", dated)
    with pytest.raises(UsageError, match="unknown condition 'freshness'; Known: genre"):
        require_condition("freshness", bare)
    with pytest.raises(UsageError, match="unknown condition 'freshnes'; did you mean 'freshness'"):
        require_condition("freshnes", dated)
    with pytest.raises(UsageError, match="unknown condition 'gendre'; did you mean 'genre'"):
        Conditions(dated, "gendre")
    with pytest.raises(UsageError, match="'genre' has fewer than two values"):
        require_condition("genre", Facts(2, {"genre": attribute([{0}, {0}], 1)}))


def test_release_times_come_from_the_data_or_from_training() -> None:
    data = from_sequences([[0, 1, 2, 3], [2, 0, 4, 1]], 5, [[10, 20, 30, 40], [5, 60, 70, 80]])
    made = split(data, Protocol())  # training: 0 at 10, 1 at 20, 2 at 5, 0 at 60
    facts = facts_with_conditions(made)
    assert facts.released is not None and facts.released.tolist() == [10, 20, 5, 80, 80]  # 3 and 4: as new as can be
    assert list(facts.attributes) == ["popularity"]
    assert Facts.of(data).released is None

    stated = replace(data, item_table=data.item_table.with_columns(released=pl.Series([1, 2, 3, 4, 5])))
    facts = facts_with_conditions(split(stated, Protocol()))
    assert facts.released is not None and facts.released.tolist() == [1, 2, 3, 4, 5]
    partly = replace(data, item_table=data.item_table.with_columns(released=pl.Series([1, None, 3, 4, 5])))
    facts = facts_with_conditions(split(partly, Protocol()))
    assert facts.released is not None and facts.released.tolist() == [1, 20, 3, 4, 5]


def test_derived_conditions_come_back_from_a_document() -> None:
    facts = facts_with_conditions(split(random_dataset(), Protocol()))
    again = Facts.from_document(facts.document())
    now = torch.tensor([1_650_000_000])
    for name in ("genre", "popularity", "freshness"):
        one, other = Conditions(facts, name), Conditions(again, name)
        assert one.names == other.names
        for value in range(len(one)):
            assert torch.equal(one.carriers(torch.tensor([value]), now), other.carriers(torch.tensor([value]), now))
