"""Another system's recommendations, from CSV, TSV or Parquet: a row an item of a user's list, with score or rank."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cpbench.data.tables import header, ids, read_table
from cpbench.data.timestamps import Place
from cpbench.data.user_files import parse_roles
from cpbench.errors import UsageError, unknown

ROLES = ("user", "item", "score", "rank")
ORDERS = ("score", "rank")


@dataclass(frozen=True)
class Recommendations:
    """`rows` hold user and item (String, original ids) and score (Float64, larger is better), in file order."""

    path: Path
    rows: pl.DataFrame
    columns: dict[str, str]
    """Role: column; user, item and one of score and rank."""

    @property
    def ordered_by(self) -> str:
        """score or rank."""
        return next(role for role in ORDERS if role in self.columns)


def parse_roles_of_lists(text: str) -> dict[str, str]:
    """``user=uid,score=s`` -> role: column, of some roles. Raises UsageError, also for score and rank at once."""
    found = parse_roles(text, ROLES, "user=uid,item=track,score=s")
    if all(role in found for role in ORDERS):
        raise UsageError(f"--columns {text!r} names both a score and a rank: lists are ordered by one of them")
    return found


def read_recommendations(path: Path, columns: Mapping[str, str] | None = None) -> Recommendations:
    """The file's lists. `columns` names the columns that are not called as their roles are.

    A file with a score and a rank is read by its score, unless `columns` names the rank. Raises UsageError for a file
    that cannot be read, lacks a column, names an item twice for a user, holds a score that is no finite number, or
    ranks other than 1, 2, 3, ... of every user.
    """
    chosen = _choose(path, columns or {})
    frame, place = read_table(path, list(chosen.values()))
    order = next(role for role in ORDERS if role in chosen)
    rows = pl.DataFrame({"user": ids(frame[chosen["user"]], place), "item": ids(frame[chosen["item"]], place),
                         order: _numbers(frame[chosen[order]], place)})
    again = rows.select(again=~pl.struct("user", "item").is_first_distinct())["again"]
    if again.any():
        row = _first(again)
        raise UsageError(f"{place(row)}: user {rows['user'][row]!r} is recommended item {rows['item'][row]!r} twice")
    if order == "rank":
        _check_ranks(rows, path, place)
        rows = rows.select("user", "item", score=-pl.col("rank"))
    return Recommendations(path, rows, chosen)


def _choose(path: Path, columns: Mapping[str, str]) -> dict[str, str]:
    present = header(path)
    chosen = {role: columns.get(role, role) for role in ("user", "item")}
    order = next((role for role in ORDERS if role in columns), None)
    if order is None:
        order = next((role for role in ORDERS if role in present), None)
    if order is None:
        raise UsageError(f"{path} has neither a column 'score' nor a column 'rank' (it has {', '.join(present)}): "
                         "name one with --columns, as in --columns score=s")
    chosen[order] = columns.get(order, order)
    for role, column in chosen.items():
        if column not in present:
            named = "" if role in columns else f" (--columns {role}=COLUMN names another)"
            raise UsageError(f"{path}: {unknown('column', column, present)}{named}")
    return chosen


def _numbers(column: pl.Series, place: Place) -> pl.Series:
    """The column as Float64, all finite."""
    if column.dtype != pl.String and not column.dtype.is_numeric():
        raise UsageError(f"{place(0)}: {column.name} is of type {column.dtype}, not a number")
    found = (column.str.strip_chars() if column.dtype == pl.String else column).cast(pl.Float64, strict=False)
    wrong = ~found.is_finite().fill_null(False)
    if wrong.any():
        row = _first(wrong)
        value = "missing" if column[row] is None or column[row] == "" else f"{column[row]}"
        raise UsageError(f"{place(row)}: {column.name} is {value}, not a finite number: "
                         "leave out what is not recommended")
    return found


def _check_ranks(rows: pl.DataFrame, path: Path, place: Place) -> None:
    """The ranks of every user are 1, 2, 3, ... in any order."""
    odd = (rows["rank"] < 1) | (rows["rank"] != rows["rank"].floor())
    if odd.any():
        row = _first(odd)
        zero = ": ranks start from 1" if rows["rank"][row] == 0 else ", not a whole number from 1 on"
        raise UsageError(f"{place(row)}: user {rows['user'][row]!r} has rank {rows['rank'][row]:g}{zero}")
    again = rows.select(again=~pl.struct("user", "rank").is_first_distinct())["again"]
    if again.any():
        row = _first(again)
        raise UsageError(f"{place(row)}: user {rows['user'][row]!r} has rank {rows['rank'][row]:g} twice")
    gaps = rows.group_by("user", maintain_order=True).agg(length=pl.len(), last=pl.col("rank").max()).filter(
        pl.col("last") > pl.col("length"))
    if gaps.height:
        user, length, last = gaps.row(0)
        raise UsageError(f"{path}: user {user!r} has {length} items, ranked up to {last:g}: ranks must be 1 to the "
                         "length of the list, without gaps")


def _first(flags: pl.Series) -> int:
    return int(flags.arg_max() or 0)
