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
EARLIEST = -62_135_596_800
"""The year 1, in seconds."""
EARLIEST_LOG, LATEST_LOG = 631_152_000, 4_102_444_800
"""1990 to 2100, in seconds: where a log's times lie. In milliseconds these are days of January and February 1970."""

CALENDAR = r"^(19[89]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
"""A date of a log written as one number, 20200131: as seconds it is a day of August 1970."""
ISO = (r"(?i)^\s*(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:[.,]\d{1,9})?)?"
       r"\s?(Z|UTC|[+-]\d{2}:?\d{2})?)?\s*$")
"""Date, hours and minutes, seconds, zone."""

Place = Callable[[int], str]
"""Row number (0 = first) -> how an error calls it ("events.csv, line 2")."""


def seconds(column: pl.Series, unit: Unit, place: Place, release: bool = False) -> pl.Series:
    """`column` as Int64 seconds, fractions cut off; see `microseconds`."""
    return microseconds(column, unit, place, release) // MICRO


def microseconds(column: pl.Series, unit: Unit, place: Place, release: bool = False) -> pl.Series:
    """`column` as Int64 microseconds. Numbers are in `unit`; datetimes, dates and ISO texts know their own.

    Datetimes without a time zone are taken as UTC. The time of an item's `release` may be missing, and before 1970.
    Raises UsageError, naming the row, for a time that is missing, not a number, negative, or evidently in another
    unit than `unit`.
    """
    missing = column.is_null()
    if missing.any() and not release:
        raise UsageError(f"{place(_first(missing))}: {column.name} is missing; every interaction needs a time")
    if column.dtype == pl.String:
        column = _from_text(column, place)
    if column.dtype in (pl.Date, pl.Datetime):
        return _from_calendar(column, release, place)
    if not column.dtype.is_numeric():
        raise UsageError(f"{place(0)}: {column.name} is of type {column.dtype}, neither a number nor a datetime")
    if not column.dtype.is_float():  # decimals, and integers that may be wider than 64 bits
        whole = column.cast(pl.Int64, strict=False)
        fraction = column.dtype.is_decimal() and column.dtype.scale  # type: ignore[attr-defined]
        column = column.cast(pl.Float64) if fraction or whole.null_count() > column.null_count() else whole
    if column.dtype.is_float():
        column = column.cast(pl.Float64)  # in 32 bits a division would move a time by seconds
        unusable = ~column.is_finite().fill_null(True)
        if unusable.any():
            raise UsageError(f"{place(_first(unusable))}: {column.name} is {column[_first(unusable)]}, not a time")
    per = PER_SECOND[unit]
    _not_before(column, per, release, place)
    _check_unit(column, unit, place)
    _check_calendar(column, unit, place, release)
    if column.dtype.is_float():
        return (column / per * MICRO).floor().cast(pl.Int64)
    return _in_microseconds(column, per)


def _from_calendar(column: pl.Series, release: bool, place: Place) -> pl.Series:
    """Dates and datetimes as Int64 microseconds; the calendar's own conversions overflow in silence, or panic."""
    count, per = column.to_physical().cast(pl.Int64), 1
    if column.dtype == pl.Date:
        count *= 86_400
    else:
        per = PER_SECOND[column.dtype.time_unit]  # type: ignore[attr-defined]
    late = (count > float(LATEST) * per).fill_null(False)
    if late.any():
        raise UsageError(f"{place(_first(late))}: {column.name} is later than the year 5138, as no time of a log is")
    _not_before(count, per, release, place)
    return _in_microseconds(count, per)


def _in_microseconds(count: pl.Series, per: int) -> pl.Series:
    """Whole numbers, of which a second has `per`; a float64 cannot hold every nanosecond."""
    return count // (per // MICRO) if per > MICRO else count * (MICRO // per)


def _from_text(column: pl.Series, place: Place) -> pl.Series:
    for kind in (pl.Int64, pl.Float64):
        numbers = column.str.strip_chars().cast(kind, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
    if numbers.null_count() < len(column):  # numbers, but not all of them
        bad = numbers.is_null() & column.is_not_null()
        raise UsageError(f"{place(_first(bad))}: {column.name} is {column[_first(bad)]!r}, not a number")
    date, clock, rest, zone = column.str.extract_groups(ISO).struct.unnest()
    zone = zone.str.replace("(?i)^(Z|UTC)$", "+00:00").fill_null("+00:00").str.replace(r"^(...)(\d)", "$1:$2")
    exact = rest.fill_null(":00").str.replace(",", ".", literal=True)
    times = (date + "T" + clock.fill_null("00:00") + exact + zone).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    bad = times.is_null() & column.is_not_null()
    if bad.any():
        row = _first(bad)
        raise UsageError(f"{place(row)}: {column.name} is {column[row]!r}, neither a number nor an ISO date and time "
                         "(2020-01-31, 2020-01-31 18:00, 2020-01-31T18:00:00Z)")
    return times.alias(column.name)


def _check_unit(column: pl.Series, unit: Unit, place: Place) -> None:
    largest = float(column.max() or 0)  # type: ignore[arg-type]
    if largest / PER_SECOND[unit] <= LATEST:
        _check_early(column, unit, place)
        return
    row = int(np.argmax(column.fill_null(0).to_numpy()))
    what = f"{place(row)}: {column.name} is {column[row]}, which is no time in {NAMES[unit]}; "
    fitting = next((name for name, per in PER_SECOND.items() if largest / per <= LATEST), None)
    if fitting is None:
        raise UsageError(f"{what}the times are unusable: no unit makes a date of it")
    if float(column.median() or 0) <= LATEST * PER_SECOND[unit]:  # type: ignore[arg-type]
        raise UsageError(f"{what}it looks like {NAMES[fitting]}, most others do not: write all in one unit")
    raise UsageError(f"{what}the times look like {NAMES[fitting]}: add --time-unit {fitting}")


def _check_early(column: pl.Series, unit: Unit, place: Place) -> None:
    """Refuse times that are days of early 1970 in `unit` and all likely dates in a coarser one."""
    first, last = (float(bound or 0) for bound in (column.min(), column.max()))  # type: ignore[arg-type]
    for name, per in PER_SECOND.items():
        if per < PER_SECOND[unit] and first >= EARLIEST_LOG * per and last <= LATEST_LOG * per:
            row = _first(column.is_not_null())
            raise UsageError(f"{place(row)}: {column.name} is {column[row]}, which in {NAMES[unit]} is a day of early "
                             f"1970; the times look like {NAMES[name]}: use --time-unit {name}")


def _check_calendar(column: pl.Series, unit: Unit, place: Place, release: bool) -> None:
    """Refuse dates that were written as one number (20200131) and, of releases, years."""
    known = column.drop_nulls()
    low, high = (float(bound or 0) for bound in (known.min(), known.max()))  # type: ignore[arg-type]
    dates, years = low >= 19800101 and high <= 20991231, release and low >= 1900 and high <= 2100
    if unit != "s" or not (dates or years) or (known != known.floor()).any():
        return
    first, where = known[0], f"{place(_first(column.is_not_null()))}: {column.name} is {known[0]}, which in seconds is"
    if dates and known.cast(pl.Int64).cast(pl.String).str.contains(CALENDAR).all():
        text = str(int(first))
        raise UsageError(f"{where} a day of 1970; the times look like dates: "
                         f"write {text[:4]}-{text[4:6]}-{text[6:]}")
    if years:
        raise UsageError(f"{where} the first hour of 1970; the times look like years: write {int(first)}-01-01")


def _not_before(times: pl.Series, per: int, release: bool, place: Place) -> None:
    """Refuse a time that is too early; a second has `per` of their unit."""
    early = (times < (float(EARLIEST) * per if release else 0)).fill_null(False)
    if early.any():
        row = _first(early)
        what = "before the year 1" if release else "negative"
        raise UsageError(f"{place(row)}: {times.name} is {what} ({times[row] // per} seconds since 1970)")


def _first(flags: pl.Series) -> int:
    return int(flags.arg_max() or 0)
