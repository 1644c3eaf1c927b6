"""Timestamps: everything that is a time becomes seconds, everything else is refused with a reason."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest

from cpbench.data.timestamps import microseconds, seconds
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
    (["2023-11-14T23:13:20+0100"], "s"), (["2023-11-14 22:13:20.5 UTC"], "s"), (["2023-11-14t22:13:20,123z"], "s"),
    ([Decimal(f"{AT}.9")], "s"), ([Decimal(AT * 1000)], "ms"),
])
def test_every_form_of_the_same_moment(values: list, unit: str) -> None:
    assert converted(values, unit) == [AT]


def test_dates_are_midnights() -> None:
    assert converted([date(1970, 1, 2)]) == converted(["1970-01-02"]) == [86_400]


def test_texts_may_have_zones_or_none() -> None:
    assert converted(["2020-01-01T10:00", "2020-01-01T09:00:00Z", "2020-01-01", None][:3]) == [
        1_577_872_800, 1_577_869_200, 1_577_836_800]


def test_fractions_of_decimals_order_the_interactions() -> None:
    column = pl.Series("at", [Decimal(f"{AT}.5"), Decimal(f"{AT}.3"), Decimal(f"{AT}.000001")])
    assert (microseconds(column, "s", str) - AT * 10**6).to_list() == [500_000, 300_000, 1]


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
    *(([text], "s", f"f, row 0: at is {text!r}, neither a number nor an ISO date and time "
                     "(2020-01-31, 2020-01-31 18:00, 2020-01-31T18:00:00Z)")
      for text in ("yesterday", "03/04/2020", "2020/03/04", "2020-13-01", "2020-01-01T25:00")),
    ([-2**63, AT], "s", "f, row 0: at is negative (-9223372036854775808 seconds since 1970)"),
    ([-1e300, AT], "s", "f, row 0: at is negative (-1e+300 seconds since 1970)"),
    ([AT, AT, AT * 1000], "s", "f, row 2: at is 1700000000000, which is no time in seconds; it looks like "
                               "milliseconds, most others do not: write all in one unit"),
    ([20200131, 20191201], "s", "f, row 0: at is 20200131, which in seconds is a day of 1970; the times look like "
                                "dates: write 2020-01-31"),
    ([1.0, float("nan")], "s", "f, row 1: at is nan, not a time"),
    ([1.0, float("inf")], "s", "f, row 1: at is inf, not a time"),
    ([True], "s", "f, row 0: at is of type Boolean, neither a number nor a datetime"),
    ([[1]], "s", "f, row 0: at is of type List(Int64), neither a number nor a datetime"),
])
def test_what_is_no_time(values: list, unit: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        converted(values, unit)
    assert str(caught.value) == message


def test_times_in_32_bits_are_not_moved() -> None:
    assert converted([1_500_000_000], kind=pl.Float32()) == [1_500_000_000]


@pytest.mark.parametrize(("values", "unit", "expected"), [
    ([0, 5], "s", [0, 5]), ([AT * 1000, 5000], "ms", [AT, 5]), ([1000, AT], "ms", [1, AT // 1000]),
    ([0, 86_400_000 * 6], "ms", [0, 86_400 * 6]),
])
def test_small_times_that_may_be_meant(values: list, unit: str, expected: list) -> None:
    assert converted(values, unit) == expected


@pytest.mark.parametrize("column", [
    pl.Series("at", [0, 2**62]).cast(pl.Datetime("ms")),  # overflows in microseconds, in silence
    pl.Series("at", [0, 10**7]).cast(pl.Int32).cast(pl.Date),  # polars panics where it shows such a date
    pl.Series("at", ["2020-01-01", "9999-12-31"]),
])
def test_times_beyond_every_log(column: pl.Series) -> None:
    with pytest.raises(UsageError, match=r"^f, row 1: at is later than the year 5138"):
        microseconds(column, "s", lambda row: f"f, row {row}")


@pytest.mark.parametrize("column", [
    pl.Series("at", [1, 2**70], dtype=pl.Int128), pl.Series("at", [Decimal(1), Decimal(10**30)])])
def test_numbers_wider_than_64_bits(column: pl.Series) -> None:
    with pytest.raises(UsageError, match=r"^f, row 1: at is 1.*no unit makes a date of it"):
        microseconds(column, "s", lambda row: f"f, row {row}")


def test_unsigned_nanoseconds() -> None:
    assert converted([AT * 10**9, 10**19], "ns", pl.UInt64()) == [AT, 10**10]


def test_a_mixture_of_dates_and_words() -> None:
    with pytest.raises(UsageError, match="at is 'never', neither a number nor an ISO date and time"):
        converted(["2023-11-14", "never"])


def test_missing_times_where_they_are_allowed() -> None:
    column = pl.Series("released", [None, AT])
    assert seconds(column, "s", str, release=True).to_list() == [None, AT]
    nothing = pl.Series("released", [None, None], dtype=pl.String)
    assert seconds(nothing, "s", str, release=True).to_list() == [None, None]


def test_releases_may_lie_before_1970() -> None:
    texts = pl.Series("released", ["1950-01-01", None, "1970-01-02"])
    assert seconds(texts, "s", str, release=True).to_list() == [-631_152_000, None, 86_400]
    numbers = pl.Series("released", [-631_152_000_000])
    assert seconds(numbers, "ms", str, release=True).to_list() == [-631_152_000]
    for unit in ("s", "ns"):
        with pytest.raises(UsageError, match=r"released is before the year 1 \(-"):
            seconds(pl.Series("released", [-2**63 if unit == "s" else -2.0**70]), unit, str, release=True)


def test_years_are_no_releases() -> None:
    with pytest.raises(UsageError, match=r"released is 1999, .* look like years: write 1999-01-01"):
        seconds(pl.Series("released", [None, "1999", "2001"]), "s", str, release=True)
    assert seconds(pl.Series("step", [1999, 2001]), "s", str).to_list() == [1999, 2001]
