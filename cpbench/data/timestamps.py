"""Timestamps: whatever a column holds -> whole numbers since 1970 (UTC), or a sentence that says what is wrong."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import polars as pl

from cpbench.errors import UsageError

Unit = Literal["s", "ms", "us", "ns"]
MICRO = 10**6
PER_SECOND: dict[str, int] = {"s": 1, "ms": 10**3, "us": MICRO, "ns": 10**9}
NAMES: dict[str, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
LATEST = 10**11
"""No real timestamp in seconds is larger (the year 5138); in milliseconds every one since March 1973 is."""
EARLIEST_LOG, LATEST_LOG = 631_152_000, 4_102_444_800
"""1990 to 2100, in seconds: where a log's times lie. In milliseconds these are days of January and February 1970."""

Place = Callable[[int], str]
"""Row number (0 = first) -> how an error calls it ("events.csv, line 2")."""


def seconds(column: pl.Series, unit: Unit, place: Place, allow_missing: bool = False) -> pl.Series:
    """`column` as Int64 seconds, fractions cut off; see `microseconds`."""
    return microseconds(column, unit, place, allow_missing) // MICRO


def microseconds(column: pl.Series, unit: Unit, place: Place, allow_missing: bool = False) -> pl.Series:
    """`column` as Int64 microseconds. Numbers are in `unit`; datetimes, dates and ISO texts know their own.

    Datetimes without a time zone are taken as UTC.
    Raises UsageError, naming the row, for a time that is missing, not a number, negative, or evidently in another
    unit than `unit`.
    """
    missing = column.is_null()
    if missing.any() and not allow_missing:
        raise UsageError(f"{place(_first(missing))}: {column.name} is missing; every interaction needs a time")
    if column.dtype == pl.String:
        column = _from_text(column, place)
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if column.dtype == pl.Datetime:
        return _not_negative(column.dt.epoch("us"), place)
    if not column.dtype.is_numeric():
        raise UsageError(f"{place(0)}: {column.name} is of type {column.dtype}, neither a number nor a datetime")
    if column.dtype.is_float():
        unusable = ~column.is_finite().fill_null(True)
        if unusable.any():
            raise UsageError(f"{place(_first(unusable))}: {column.name} is {column[_first(unusable)]}, not a time")
    _check_unit(column, unit, place)
    per = PER_SECOND[unit]
    if column.dtype.is_float():
        return _not_negative((column / per * MICRO).floor().cast(pl.Int64), place)
    # integers stay integers: a float64 cannot hold every nanosecond
    whole = column.cast(pl.Int64)
    return _not_negative(whole // (per // MICRO) if per > MICRO else whole * (MICRO // per), place)


def _from_text(column: pl.Series, place: Place) -> pl.Series:
    for kind in (pl.Int64, pl.Float64):
        numbers = column.str.strip_chars().cast(kind, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
    if numbers.null_count() < len(column):  # numbers, but not all of them
        bad = numbers.is_null() & column.is_not_null()
        raise UsageError(f"{place(_first(bad))}: {column.name} is {column[_first(bad)]!r}, not a number")
    try:
        times = column.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
        bad = times.is_null() & column.is_not_null()
    except pl.exceptions.PolarsError:  # no format fits the first of them
        bad = column.is_not_null()
    if bad.any():
        row = _first(bad)
        raise UsageError(f"{place(row)}: {column.name} is {column[row]!r}, neither a number nor an ISO date and time")
    return times


def _check_unit(column: pl.Series, unit: Unit, place: Place) -> None:
    largest = float(column.max() or 0)  # type: ignore[arg-type]
    if largest / PER_SECOND[unit] <= LATEST:
        _check_early(column, unit, place)
        return
    fitting = [name for name, per in PER_SECOND.items() if largest / per <= LATEST]
    remedy = f"add --time-unit {fitting[0]}" if fitting else "no unit makes a date of it"
    likely = f" look like {NAMES[fitting[0]]}" if fitting else ""
    row = int(np.argmax(column.fill_null(0).to_numpy()))
    raise UsageError(f"{place(row)}: {column.name} is {column[row]}, which is no time in {NAMES[unit]}; "
                     f"the times{likely or ' are unusable'}: {remedy}")


def _check_early(column: pl.Series, unit: Unit, place: Place) -> None:
    """Refuse times that are days of early 1970 in `unit` and all likely dates in a coarser one."""
    first, last = (float(bound or 0) for bound in (column.min(), column.max()))  # type: ignore[arg-type]
    for name, per in PER_SECOND.items():
        if per < PER_SECOND[unit] and first >= EARLIEST_LOG * per and last <= LATEST_LOG * per:
            row = _first(column.is_not_null())
            raise UsageError(f"{place(row)}: {column.name} is {column[row]}, which in {NAMES[unit]} is a day of early "
                             f"1970; the times look like {NAMES[name]}: use --time-unit {name}")


def _not_negative(times: pl.Series, place: Place) -> pl.Series:
    negative = (times < 0).fill_null(False)
    if negative.any():
        row = _first(negative)
        raise UsageError(f"{place(row)}: {times.name} is negative ({times[row] // MICRO} seconds since 1970)")
    return times


def _first(flags: pl.Series) -> int:
    return int(flags.arg_max() or 0)
