"""The user's own interactions and items, from CSV or Parquet.

CSV is read as text and converted here, so that every refusal can name the file, the line and the value.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from cpbench.data import fetch
from cpbench.data.card import Filters, cards
from cpbench.data.dataset import FRESHNESS, POPULARITY, Dataset
from cpbench.data.describe import granularity
from cpbench.data.prepare import assemble
from cpbench.data.timestamps import MICRO, Place, Unit, microseconds, seconds
from cpbench.errors import UsageError, unknown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ROLES = ("user", "item", "time")
KINDS = (".csv", ".parquet")
ENDINGS = "that ends in .csv or .parquet (or in .inter, without --columns)"
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
    if path.suffix.lower() not in KINDS:
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
    """id, title, released (where given) and one list[str] column per attribute."""
    frame, place = read_table(path)
    if "id" not in frame.columns:
        raise UsageError(f"{path} has no column 'id' (it has {', '.join(frame.columns)}): the items' file needs one "
                         "that holds the same ids as the interactions")
    columns: dict[str, pl.Series] = {"id": unique_ids(frame["id"], place),
                                     "title": pl.Series([None] * frame.height, dtype=pl.String)}
    for name in frame.columns:
        if name == "title":
            columns[name] = frame[name].cast(pl.String)
        elif name == "released":
            columns[name] = seconds(frame[name], unit, place, release=True)
        elif name != "id":
            columns[name] = _values(frame[name], path)
    return pl.DataFrame(columns)


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


def unique_ids(column: pl.Series, place: Place) -> pl.Series:
    """`ids`; raises UsageError also where one occurs more than once."""
    found = ids(column, place)
    again = ~found.is_first_distinct()
    if again.any():
        row = int(again.arg_max() or 0)
        raise UsageError(f"{place(row)}: item {found[row]!r} occurs more than once")
    return found


def ids(column: pl.Series, place: Place) -> pl.Series:
    """The column as text. Raises UsageError, naming the row, where one is missing or no text."""
    if column.dtype.is_nested():
        raise UsageError(f"{place(0)}: {column.name} is of type {column.dtype}, not an id")
    try:
        found = column.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise UsageError(f"{place(0)}: {column.name} is of type {column.dtype}, and not UTF-8 text") from None
    empty = found.is_null() | (found == "")
    if empty.any():
        raise UsageError(f"{place(int(empty.arg_max() or 0))}: {column.name} is missing")
    binary = found.str.contains("\0", literal=True)
    if binary.any():
        raise UsageError(f"{place(int(binary.arg_max() or 0))}: {column.name} holds a NUL byte, which no text does")
    return found


def read_table(path: Path, wanted: Sequence[str] | None = None) -> tuple[pl.DataFrame, Place]:
    """The columns `wanted` (default: all) and how an error calls a row; CSV as text. Raises UsageError."""
    present, kind = header(path), _kind(path)
    for column in wanted or []:
        if column not in present:
            raise UsageError(f"{path}: {unknown('column', column, present)}")
    if wanted is not None and (twice := _repeated(wanted)) is not None:
        raise UsageError(f"{path}: column {twice!r} is named for two roles; each needs a column of its own")
    used = present if wanted is None else [column for column in present if column in wanted]
    if (twice := _repeated(used)) is not None:
        raise UsageError(f"{path} has two columns called {twice!r}: rename or remove one")

    def place(row: int) -> str:
        return f"{path}, line {row + 2}" if kind == ".csv" else f"{path}, row {row + 1}"

    places = [present.index(column) for column in used]
    with _readable(path):
        if kind == ".parquet":
            frame = pl.read_parquet(path, columns=places)
        else:
            try:  # every column of the header as text: a type is never guessed from the first rows
                frame = pl.read_csv(path, columns=places, infer_schema=False, encoding="utf8")
            except pl.exceptions.PolarsError:
                frame = read_slowly(path, present, used)
    frame.columns = used
    if kind == ".csv":
        frame = _without_blank_end(frame, place)
    if frame.is_empty():
        raise UsageError(f"{path} holds no rows")
    return frame, place


def _without_blank_end(frame: pl.DataFrame, place: Place) -> pl.DataFrame:
    """`frame` less the rows without any value at its end. Raises UsageError where there is such a row before."""
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    if not blank.any():
        return frame
    frame = frame.head(int((~blank).arg_true().max() or -1) + 1 if not blank.all() else 0)  # type: ignore[arg-type]
    if (inside := blank.head(frame.height)).any():
        raise UsageError(f"{place(int(inside.arg_max() or 0))} is blank, or has nothing in the columns that are needed "
                         f"({', '.join(frame.columns)}): remove it")
    return frame


def _repeated(names: Sequence[str]) -> str | None:
    """The first of `names` that is there twice."""
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def header(path: Path) -> list[str]:
    """The names of the columns of a CSV or Parquet file, without blanks around them.

    Raises UsageError when it cannot be read or is empty.
    """
    kind = _kind(path)
    with _readable(path):
        if kind == ".parquet":
            with path.open("rb") as file:
                return [name.strip() for name in pl.read_parquet_schema(file)]
        # as it stands: polars renames a column that is there twice
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            names = next(filter(None, csv.reader(stream)), None)
    if names is None:
        raise UsageError(f"{path} is empty")
    if any("\0" in name for name in names):
        raise UsageError(f"{path} is not UTF-8 text, but perhaps UTF-16: save it as UTF-8")
    if len(names) == 1 and (other := next((mark for mark in ";\t" if mark in names[0]), None)):
        raise UsageError(f"{path} separates its columns by {other!r}: write it with commas, or as Parquet")
    return [name.strip() for name in names]


def _kind(path: Path) -> str:
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UsageError(f"{path} is neither .csv nor .parquet")
    return kind


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        with fetch.reading(path):
            yield
    except (pl.exceptions.PolarsError, csv.Error) as error:
        raise UsageError(f"{path} is not a readable {_kind(path)[1:]} file: {str(error).splitlines()[0]}") from error


def read_slowly(path: Path, header: Sequence[str], wanted: Sequence[str], delimiter: str = ",") -> pl.DataFrame:
    """The columns `wanted` of a file that polars cannot read, all text, where it is well-formed nevertheless.

    A quote inside a field that does not begin with one stands for itself. Raises UsageError naming the line.
    """
    places = [header.index(name) for name in wanted]
    rows = [[row[place] for place in places] for row in rows_of(path, delimiter)]
    return pl.DataFrame(rows, schema=dict.fromkeys(wanted, pl.String), orient="row").with_columns(
        pl.all().replace("", None))


def rows_of(path: Path, delimiter: str) -> Iterator[list[str]]:
    """The rows below the header. Raises UsageError for the first line that does not fit it."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream, delimiter=delimiter, strict=True)
            width = len(next(filter(None, rows)))
            for row in rows:
                if len(row) != width:
                    raise UsageError(f"{path}, line {rows.line_num}: {len(row)} fields where the header has {width}")
                yield row
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.line_num}: not readable ({error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start:,})") from error
