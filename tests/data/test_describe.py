"""What `cpbench inspect` measures."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cpbench.data.card import Filters
from cpbench.data.dataset import Dataset
from cpbench.data.describe import attribute_facts, describe, granularity, lag_shares
from cpbench.data.figure import draw
from cpbench.data.prepare import assemble
from cpbench.errors import CpbenchError
from tests.data.test_prepare import frame, no_items

DAY = 86_400


def made(rows: list[tuple[str, str, int]], items: pl.DataFrame | None = None) -> Dataset:
    return assemble("made-up", frame(rows), no_items if items is None else lambda _: items, Filters(), {})


def test_facts() -> None:
    facts = describe(made([("a", "x", 0), ("a", "y", 60), ("a", "x", 60 + DAY), ("b", "x", 10)]))
    assert (facts["users"], facts["items"], facts["interactions"]) == (2, 2, 4)
    assert facts["density"] == 0.75  # a pair that repeats is one pair
    assert facts["lengths"] == {"min": 1, "median": 2.0, "mean": 2.0, "max": 3}
    assert facts["users_with_one_interaction"] == 1
    assert facts["repeat_share"] == 0.25
    assert facts["first"] == "1970-01-01T00:00:00Z"
    assert facts["last"] == "1970-01-02T00:01:00Z"


def test_lag_shares_count_the_limit_itself_and_never_cross_users() -> None:
    rows = [("a", item, time) for item, time in zip("stuvw", (0, 0, 60, 960, 960 + DAY), strict=True)]
    assert lag_shares(made([*rows, ("b", "s", 970)])) == {"0s": 0.25, "60s": 0.5, "15min": 0.75, "1day": 1.0}


def test_no_user_with_two_interactions() -> None:
    assert set(lag_shares(made([("a", "x", 1), ("b", "x", 1)])).values()) == {None}


def test_attributes() -> None:
    items = pl.DataFrame({"id": ["x", "y"], "genre": [["jazz", "folk"], []]})
    dataset = made([("a", "x", 1), ("a", "y", 2), ("a", "z", 3), ("a", "w", 4)], items.with_columns(title=pl.lit("T")))
    assert attribute_facts(dataset, "genre") == {"values": 2, "coverage": 0.25, "per_item": 2.0}
    assert describe(dataset)["titles"] == 0.5


RANDOM = np.random.default_rng(1).integers(0, 2 * 10**9, 1000)


def months(hours: tuple[int, ...]) -> np.ndarray:
    starts = np.arange("1990-01", "2010-01", dtype="datetime64[M]").astype("datetime64[s]").astype(np.int64)
    return np.concatenate([starts - 3600 * hour for hour in hours])


@pytest.mark.parametrize(("times", "expected"), [
    (RANDOM, "second"),
    (RANDOM // 60 * 60, "minute"),
    (RANDOM // 3600 * 3600, "hour"),
    (RANDOM // DAY * DAY, "day"),
    (RANDOM // DAY * DAY - 5 * 3600, "day"),
    (RANDOM // (DAY // 2) * (DAY // 2), "hour"),
    (months((0,)), "month"),
    (months((1, 2)), "month"),  # local midnights, with and without daylight saving
    (np.concatenate([months((1, 2)), RANDOM[:15]]), "month"),  # a few odd ones
], ids=range(9))
def test_granularity(times: np.ndarray, expected: str) -> None:
    assert granularity(times) == expected


@pytest.mark.parametrize("rows", [
    [("a", "x", 0), ("a", "y", 0), ("a", "z", 500), ("b", "x", 7)],
    [("a", "x", 5)],
    [("a", "x", 0), ("a", "x", 10**10)],
], ids=["usual", "one interaction", "long lag"])
def test_the_figure_is_a_png(tmp_path: Path, rows: list[tuple[str, str, int]]) -> None:
    draw(made(rows), tmp_path / "deep" / "figure")
    assert (tmp_path / "deep" / "figure").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CpbenchError, match="cannot write"):
        draw(made([("a", "x", 5)]), tmp_path / "file" / "figure.png")
