"""Original ids of users and items: where they are in a dataset, and the nearest ones where there is no such id."""

import csv
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import polars as pl

from cpbench.errors import UsageError, unknown

ENOUGH, POOL = 50, 2000
"""Ids that begin alike are compared letter by letter: from ENOUGH on no shorter beginning is tried; never over POOL."""
LONGEST = 64
"""Letters of a beginning."""
ALIKE = 0.5
"""Similarity (difflib's ratio) from which on an id is worth suggesting."""
COLUMN = "user"


def positions(kind: str, wanted: Sequence[str], ids: pl.Series) -> list[int]:
    """The position of every id of `wanted` in `ids` [B or N], in the order of `wanted`.

    Raises UsageError, with the nearest ids, when one does not exist.
    """
    known = ids.cast(pl.String)
    rows = pl.DataFrame({"id": known}).with_row_index("position").filter(pl.col("id").is_in(list(set(wanted))))
    places = dict(zip(rows["id"].to_list(), rows["position"].to_list(), strict=True))
    missing = [name for name in dict.fromkeys(wanted) if name not in places]
    if missing:
        raise no_such(kind, missing[0], known, len(missing) - 1)
    return [places[name] for name in wanted]


def no_such(kind: str, name: str, known: pl.Series, more: int = 0) -> UsageError:
    """The error for an id that is not among `known` (String), which may be millions; `more` others are missing, too."""
    near = nearest(name, known)
    others = f" (and {more:,} more that do not exist)" if more else ""
    some = " and ".join(repr(each) for each in known.head(2).to_list())
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {len(known):,}, such as {some}"
    return UsageError(f"unknown {kind} {name!r}{others}; {hint}")


def nearest(name: str, known: pl.Series, count: int = 3) -> list[str]:
    """Up to `count` of `known` (String) that look most like `name`, among those that share its longest beginning."""
    similar = known
    for length in range(min(len(name), LONGEST), -1, -1):
        similar = known.filter(known.str.starts_with(name[:length]))
        if len(similar) >= ENOUGH:
            break
    if len(similar) > POOL:  # of very many, those of about the same length
        distance = (similar.str.len_chars().cast(pl.Int64) - len(name)).abs()
        similar = similar.gather(distance.arg_sort().head(POOL))
    matcher = SequenceMatcher(b=name)
    scored = []
    for each in similar.to_list():
        matcher.set_seq1(each)
        if matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE:
            scored.append((-matcher.ratio(), each))
    return [each for _, each in sorted(scored)[:count]]  # of equally similar ones, the first in order


def read_users(path: Path) -> list[str]:
    """The user ids in a file: one a line, or the column `user` of a CSV file.

    A file whose first line has a field `user`, or whose name ends in .csv, is CSV. Raises UsageError when it cannot be
    read, lacks the column or names nobody.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start:,})") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    header = [field.strip() for field in next(csv.reader(lines), [])]
    if COLUMN in header or (path.suffix.lower() == ".csv" and lines):
        if COLUMN not in header:
            raise UsageError(f"{path}: {unknown('column', COLUMN, header)}")
        place = header.index(COLUMN)
        try:
            found = [row[place] for row in list(csv.reader(lines))[1:] if len(row) > place]
        except csv.Error as error:
            raise UsageError(f"{path} is not readable CSV: {error}") from error
    else:
        found = lines
    users = list(dict.fromkeys(name.strip() for name in found if name.strip()))
    if not users:
        raise UsageError(f"{path} names no user: it needs one id a line, or CSV with a column {COLUMN!r}")
    return users
