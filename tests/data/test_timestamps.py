"""Timestamps: everything that is a time becomes seconds, everything else is refused with a reason."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from cpbench.data.timestamps import seconds
from cpbench.errors import UsageError

AT = 1_700_000_000  # 2023-11-14T22:13:20Z


def converted(values: list, unit: str = "s", kind: pl.DataType | None = None) -> list:
    return seconds(pl.Series("at", values, dtype=kind), unit, lambda row: f"f, row {row}").to_list()  # type: ignore


@pytest.mark.parametrize(("values", "unit"), [
    ([AT], "s"), ([AT * 1000 + 999], "ms"), ([AT * 10**6], "us"), ([AT * 10**9 + 1], "ns"),
    ([AT + 0.9], "s"), ([str(AT)], "s"), ([f" {AT}.5"], "s"), ([f"{AT}123"], "ms"),
    ([datetime(2023, 11, 14, 22, 13, 20)], "s"),
    ([datetime(2023, 11, 14, 23, 13, 20, tzinfo=timezone(timedelta(hours=1)))], "s"),
    (["2023-11-14T22:13:20Z"], "s"), (["2023-11-14T23:13:20+01:00"], "s"), (["2023-11-14 22:13:20"], "s"),
])
def test_every_form_of_the_same_moment(values: list, unit: str) -> None:
    assert converted(values, unit) == [AT]


def test_dates_are_midnights() -> None:
    assert converted([date(1970, 1, 2)]) == converted(["1970-01-02"]) == [86_400]


def test_nanoseconds_lose_nothing() -> None:
    assert converted([1_699_999_999_999_999_999], "ns") == [AT - 1]


@pytest.mark.parametrize(("values", "unit", "message"), [
    ([1, None], "s", "f, row 1: at is missing; every interaction needs a time"),
    ([5, -1], "s", "f, row 1: at is negative (-1 seconds since 1970)"),
    ([datetime(1956, 6, 1, tzinfo=UTC)], "s", "f, row 0: at is negative (-428716800 seconds since 1970)"),
    ([1, AT * 1000], "s", "f, row 1: at is 1700000000000, which is no time in seconds; the times look like "
                          "milliseconds: add --time-unit ms"),
    ([str(AT * 1000)], "s", "f, row 0: at is 1700000000000, which is no time in seconds; the times look like "
                            "milliseconds: add --time-unit ms"),
    ([AT * 10**9], "ms", "f, row 0: at is 1700000000000000000, which is no time in milliseconds; the times look like "
                         "nanoseconds: add --time-unit ns"),
    ([AT, AT + 5], "ms", "f, row 0: at is 1700000000, which in milliseconds is a day of early 1970; the times look "
                         "like seconds: use --time-unit s"),
    ([AT * 1000], "us", "f, row 0: at is 1700000000000, which in microseconds is a day of early 1970; the times look "
                        "like milliseconds: use --time-unit ms"),
    ([float(AT)], "ns", "f, row 0: at is 1700000000.0, which in nanoseconds is a day of early 1970; the times look "
                        "like seconds: use --time-unit s"),
    (["1", "soon"], "s", "f, row 1: at is 'soon', not a number"),
    (["yesterday"], "s", "f, row 0: at is 'yesterday', neither a number nor an ISO date and time"),
    ([1.0, float("nan")], "s", "f, row 1: at is nan, not a time"),
    ([1.0, float("inf")], "s", "f, row 1: at is inf, not a time"),
    ([True], "s", "f, row 0: at is of type Boolean, neither a number nor a datetime"),
    ([[1]], "s", "f, row 0: at is of type List(Int64), neither a number nor a datetime"),
])
def test_what_is_no_time(values: list, unit: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        converted(values, unit)
    assert str(caught.value) == message


@pytest.mark.parametrize(("values", "unit", "expected"), [
    ([0, 5], "s", [0, 5]), ([AT * 1000, 5000], "ms", [AT, 5]), ([1000, AT], "ms", [1, AT // 1000]),
    ([0, 86_400_000 * 6], "ms", [0, 86_400 * 6]),
])
def test_small_times_that_may_be_meant(values: list, unit: str, expected: list) -> None:
    assert converted(values, unit) == expected


def test_a_mixture_of_dates_and_words() -> None:
    with pytest.raises(UsageError, match="at is 'never', neither a number nor an ISO date and time"):
        converted(["2023-11-14", "never"])


def test_missing_times_where_they_are_allowed() -> None:
    column = pl.Series("released", [None, AT])
    assert seconds(column, "s", str, allow_missing=True).to_list() == [None, AT]
    nothing = pl.Series("released", [None, None], dtype=pl.String)
    assert seconds(nothing, "s", str, allow_missing=True).to_list() == [None, None]
