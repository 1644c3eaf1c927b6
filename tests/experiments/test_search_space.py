import builtins
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.data.card import cards
from cpbench.errors import UsageError
from cpbench.experiments.recipes import recipe_names, resolve
from cpbench.experiments.search_space import (
    Choices,
    Range,
    count,
    grid,
    model_space,
    parse_space,
    require_optuna,
    suggest,
)
from cpbench.models.registry import model_class, model_names

NOTHING_TO_VARY = {"popularity"}


def test_ranges_and_choices() -> None:
    space = parse_space(["learning_rate=1e-4..1e-2", "length = 5..9", "width=32, 64", "loss=bce,softmax",
                         "dropout=0..1"])
    assert space == {"learning_rate": Range(1e-4, 1e-2), "length": Range(5, 9), "width": Choices((32, 64)),
                     "loss": Choices(("bce", "softmax")), "dropout": Range(0, 1)}
    assert [each.whole for each in space.values() if isinstance(each, Range)] == [False, True, True]
    assert Range(1e-4, 1e-2).by_magnitude and Range(1, 10).by_magnitude
    assert not Range(0.0, 0.6).by_magnitude and not Range(2.0, 10.0).by_magnitude


@pytest.mark.parametrize(("text", "sentence"), [
    ("width", "--try 'width' is not of the form KEY=LOW..HIGH or KEY=A,B,C"),
    ("=1..2", "is not of the form"),
    ("width=", "is not of the form"),
    ("width=64", "one value is nothing to search; fix it with --set width=64"),
    ("width=64,64", "one value is nothing to search"),
    ("dropout=0.5..0.1", "a range goes from a number to a larger one"),
    ("dropout=0.5..0.5", "a range goes from a number to a larger one"),
    ("dropout=low..high", "a range goes from a number to a larger one"),
    ("dropout=..0.5", "a range goes from a number to a larger one"),
    ("dropout=0..inf", "a range goes from a number to a larger one"),
    ("dropout=nan..1", "a range goes from a number to a larger one"),
    ("dropout=false..true", "a range goes from a number to a larger one"),
])
def test_what_is_no_space(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_space([text])
    assert sentence in str(caught.value)


def test_a_key_given_twice() -> None:
    with pytest.raises(UsageError, match="'width' twice"):
        parse_space(["width=1,2", "width=3,4"])


def test_what_can_be_counted() -> None:
    space = parse_space(["width=32,64", "length=5..7"])
    assert count(space) == 6
    assert list(grid(space)) == [{"width": width, "length": length} for width in (32, 64) for length in (5, 6, 7)]
    assert count(parse_space(["width=32,64", "dropout=0.0..0.5"])) == float("inf")


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-6, 1e3), st.floats(1.0001, 1e6), st.integers(0, 5), st.integers(1, 30))
def test_suggestions_lie_in_the_space(low: float, ratio: float, seed: int, number: int) -> None:
    space = {"a": Range(low, low * ratio), "b": Range(-3, 40), "c": Choices(("x", 2, True))}
    tried = [({"a": low, "b": 0, "c": "x"}, 0.1), ({"a": -1.0, "b": 0, "c": "x"}, 9.0)]  # the second lies outside
    first = suggest(space, tried, seed, number)
    assert first == suggest(space, tried, seed, number)
    assert all(space[key].holds(value) for key, value in first.items()) and list(first) == ["a", "b", "c"]


def test_suggestions_follow_what_was_worth_most() -> None:
    space = {"a": Range(0.0, 1.0)}
    tried = [({"a": value}, -abs(value - 0.3)) for value in np.linspace(0, 1, 41).round(3).tolist()]
    drawn = [suggest(space, tried, seed, 41)["a"] for seed in range(20)]
    assert abs(np.mean(drawn) - 0.3) < 0.1
    assert len({suggest(space, [], 1, number)["a"] for number in range(1, 9)}) == 8  # no draw repeats the one before


@given(st.floats(1e-8, 1e8))
def test_a_number_is_rounded_to_what_a_person_reads(value: float) -> None:
    tidy = Range(1e-8, 1e8).tidy(value)
    assert len(f"{tidy:e}".partition("e")[0].rstrip("0")) <= len("1.23")
    assert abs(tidy - value) <= 0.005 * value


@pytest.mark.parametrize("name", sorted(set(model_names()) - NOTHING_TO_VARY))
def test_the_space_of_a_model_holds_its_tuned_settings(name: str) -> None:
    found = model_class(name)
    space = model_space(found)
    assert space and "search" not in recipe_names(found)
    for dataset in cards():
        config = resolve(found, "tuned", dataset, {}).config
        outside = {key: config[key] for key, each in space.items() if not each.holds(config[key])}
        assert not outside, (dataset, outside)


def test_optuna_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "optuna":
            raise ImportError("No module named 'optuna'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"needs the package optuna \(No module.*pip install 'cpbench\[tune\]'"):
        require_optuna()
