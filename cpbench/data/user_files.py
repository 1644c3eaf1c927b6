"""The user's own interactions and items, from CSV, TSV or Parquet."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from cpbench.data import fetch
from cpbench.data.card import Filters, cards
from cpbench.data.dataset import FRESHNESS, POPULARITY, Dataset
from cpbench.data.describe import granularity
from cpbench.data.prepare import assemble
from cpbench.data.tables import KINDS, ids, read_table, unique_ids
from cpbench.data.timestamps import MICRO, Unit, microseconds, seconds
from cpbench.errors import UsageError, unknown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ROLES = ("user", "item", "time")
ENDINGS = "that ends in .csv, .tsv, .csv.gz, .tsv.gz or .parquet (or in .inter, without --columns)"
SEPARATOR = "|"
"""Between several values of one item attribute, in text."""
REPEATS = 0.01
"""From this share of repeated (user, item) pairs on, repeating is natural: seen items then stay in the ranking."""


def prepare_own(name: str, path: Path, columns: Mapping[str, str], items: Path | None = None, unit: Unit = "s",
                k_core: int = 0) -> Dataset:
    """The dataset `name` from a file of interactions.

    `columns` maps user, item and time to the file's column names; `items` is a file with the columns id, optionally
    title and released (a time), and any number of attributes. Raises UsageError for anything that is wrong with them.
    """
    check_name(name)
    if not path.name.lower().endswith(KINDS):
        what = "is a folder" if path.is_dir() else "has another ending"
        raise UsageError(f"{path} {what}: your own interactions lie in a file {ENDINGS}")
    raw = read_interactions(path, columns, unit)
    if items is None:
        return own_dataset(name, raw, None, {"interactions": path}, k_core)
    table = read_items(items, unit)
    check_described(raw, path, table, items)
    return own_dataset(name, raw, table, {"interactions": path, "items": items}, k_core)


def check_described(raw: pl.DataFrame, path: Path, table: pl.DataFrame, items: Path) -> None:
    """Raise UsageError unless the file `items` describes some item of the interactions."""
    if not raw["item"].is_in(table["id"].implode()).any():
        raise UsageError(f"{items} describes none of the items of {path}: its ids look like {table['id'][0]!r}, "
                         f"those of the interactions like {raw['item'][0]!r}")


def own_dataset(name: str, raw: pl.DataFrame, table: pl.DataFrame | None, files: Mapping[str, Path], k_core: int,
                warnings: Sequence[str] = ()) -> Dataset:
    """The dataset of the interactions `raw` and the items `table`; `files` says by role where they came from.

    Raises UsageError for an attribute whose name is taken, and when the filters leave nothing.
    """
    for taken in (FRESHNESS, POPULARITY):
        if table is not None and taken in table.columns:
            raise UsageError(f"{files['items']}: rename the column {taken!r}, for `--condition {taken}` is what "
                             "cpbench derives itself")
    described = pl.DataFrame(schema={"id": pl.String, "title": pl.String}) if table is None else table
    repeats = 1 - raw.select("user", "item").n_unique() / raw.height
    twice = raw.height - raw.n_unique()
    doubled = [f"{name}: {twice:,} of {raw.height:,} interactions have the user, item and time of an earlier one; they "
               "are kept, but a copy that only an export made is easy to predict: remove it"] if twice else []
    return assemble(name, raw, lambda _: described, Filters(k_core=k_core), {
        "title": name,
        "kind": "own",
        "licence": "your own data",
        "granularity": granularity(raw["time"].to_numpy()),
        "repeat_share": repeats,
        "exclude_seen": repeats < REPEATS,
        "sources": [{"role": role, "file": file.name, "from": str(file), "bytes": file.stat().st_size,
                     "checksum": fetch.checksum(file)}
                    for role, file in files.items()],
        "warnings": [*warnings, *doubled],
    })


def check_name(name: str) -> None:
    """Raise UsageError unless `name` is a harmless file name that no card has."""
    if name.lower() in cards():
        raise UsageError(f"{name!r} is the name of a dataset that cpbench knows: call your own data something else")
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a dataset: use letters, digits, '-', '_' and '.' (at most 64, "
                         "beginning with a letter or a digit)")


def parse_columns(text: str) -> dict[str, str]:
    """``user=u,item=i,time=t`` -> role: column. Raises UsageError unless all three roles are there once."""
    found = parse_roles(text, ROLES, "user=user_id,item=item_id,time=timestamp")
    if missing := [role for role in ROLES if role not in found]:
        why = "; a sequence needs an order, so interactions without a time cannot be used" if "time" in missing else ""
        raise UsageError(f"--columns {text!r} lacks {', '.join(missing)}{why}")
    return found


def parse_roles(text: str, roles: Sequence[str], example: str) -> dict[str, str]:
    """``ROLE=COLUMN,ROLE=COLUMN`` -> role: column. Raises UsageError for anything else, and for a role named twice."""
    found: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column:
            raise UsageError(f"--columns {text!r}: {part.strip()!r} is not ROLE=COLUMN (as in {example})")
        if role not in roles:
            raise UsageError(f"--columns: {unknown('role', role, roles)}")
        if role in found:
            raise UsageError(f"--columns {text!r} names {role} twice")
        found[role] = column
    return found


def read_interactions(path: Path, columns: Mapping[str, str], unit: Unit) -> pl.DataFrame:
    """user, item (String), time (Int64 seconds) and fraction (microseconds inside the second), in file order."""
    frame, place = read_table(path, list(columns.values()))
    users, items, times = (frame[columns[role]] for role in ROLES)
    exact = microseconds(times, unit, place)
    return pl.DataFrame({"user": ids(users, place), "item": ids(items, place), "time": exact // MICRO,
                         "fraction": exact % MICRO})


def read_items(path: Path, unit: Unit) -> pl.DataFrame:
    """id, title, released (where given) and one list[str] column per attribute. A column without a name, as pandas
    writes its row numbers, is none."""
    frame, place = read_table(path)
    if "id" not in frame.columns:
        raise UsageError(f"{path} has no column 'id' (it has {', '.join(frame.columns)}): the items' file needs one "
                         "that holds the same ids as the interactions")
    columns: dict[str, pl.Series] = {"id": unique_ids(frame["id"], place),
                                     "title": pl.Series([None] * frame.height, dtype=pl.String)}
    for name in frame.columns:
        if name == "title":
            columns[name] = _title(frame[name], path)
        elif name == "released":
            columns[name] = seconds(frame[name], unit, place, release=True)
        elif name != "id" and name.strip():
            columns[name] = _values(frame[name], path)
    return pl.DataFrame(columns)


def _title(column: pl.Series, path: Path) -> pl.Series:
    try:
        if not column.dtype.is_nested():
            return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        pass
    raise UsageError(f"{path}: column 'title' is of type {column.dtype}, not text")


def _values(column: pl.Series, path: Path) -> pl.Series:
    """An attribute as list[str]: lists as they are, text split at "|", empty values dropped."""
    try:
        lists = (column.cast(pl.List(pl.String)) if isinstance(column.dtype, pl.List)
                 else column.cast(pl.String).str.split(SEPARATOR))
    except pl.exceptions.PolarsError:
        raise UsageError(f"{path}: column {column.name!r} is of type {column.dtype}, not text, a number "
                         "or a list of texts") from None
    trimmed = lists.list.eval(pl.element().str.strip_chars())
    return trimmed.list.eval(pl.element().filter(pl.element() != "")).fill_null([])
