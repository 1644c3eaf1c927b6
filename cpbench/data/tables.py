"""Tables that somebody else wrote: CSV, TSV (either may be gzipped) and Parquet.

Text is read as text and converted by whoever uses it, so that every refusal can name the file, the line and the value.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TextIO

import polars as pl

from cpbench.data import fetch
from cpbench.data.timestamps import Place
from cpbench.errors import UsageError, unknown

TEXTS = {".csv": ",", ".tsv": "\t"}
"""The kinds of text, and what separates their columns."""
GZIPPED = ".gz"
KINDS = (*TEXTS, *(kind + GZIPPED for kind in TEXTS), ".parquet")


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
    if column.dtype.is_nested() or column.dtype.is_temporal():
        raise UsageError(f"{place(0)}: {column.name} is of type {column.dtype}, not an id")
    if column.dtype.is_float():  # pandas turns whole numbers into floats where one is missing
        column = column.set(~column.is_finite().fill_null(True), None)
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
    """The columns `wanted` (default: all) and how an error calls a row; text as text. Raises UsageError."""
    present, kind = header(path), _kind(path)
    for column in wanted or []:
        if column not in present:
            raise UsageError(f"{path}: {unknown('column', column, present)}")
    if wanted is not None and (twice := _repeated(wanted)) is not None:
        raise UsageError(f"{path}: column {twice!r} is named for two roles; each needs a column of its own")
    used = present if wanted is None else [column for column in present if column in wanted]
    if (twice := _repeated(used)) is not None:
        raise UsageError(f"{path} has two columns called {twice!r}: rename or remove one")

    first = 2 + _lines_before_the_header(path) if kind in TEXTS else 1

    def place(row: int) -> str:
        return f"{path}, {'line' if kind in TEXTS else 'row'} {row + first}"

    places = [present.index(column) for column in used]
    with _readable(path):
        if kind == ".parquet":
            frame = pl.read_parquet(path, columns=places, glob=False)
        else:
            try:  # every column of the header as text: a type is never guessed from the first rows
                frame = pl.read_csv(path, columns=places, infer_schema=False, encoding="utf8", separator=TEXTS[kind],
                                    glob=False)
            except pl.exceptions.PolarsError:
                frame = read_slowly(path, present, used, TEXTS[kind])
    frame.columns = used
    if kind in TEXTS and frame.is_empty():  # lines may end in carriage returns alone, which polars does not know
        frame = read_slowly(path, present, used, TEXTS[kind])
    if kind in TEXTS:
        frame = _without_blank_end(frame, place)
    if frame.is_empty():
        raise UsageError(f"{path} holds no rows")
    return frame, place


def _without_blank_end(frame: pl.DataFrame, place: Place) -> pl.DataFrame:
    """`frame` less the rows without any value at its end. Raises UsageError where there is such a row before."""
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    filled = (~blank).arg_true()
    frame = frame.head(filled[-1] + 1 if len(filled) else 0)
    if (inside := blank.head(frame.height)).any():
        raise UsageError(f"{place(int(inside.arg_max() or 0))} is blank, or has nothing in the columns that are needed "
                         f"({', '.join(frame.columns)}): remove it")
    return frame


def _repeated(names: Sequence[str]) -> str | None:
    """The first of `names` that is there twice."""
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def header(path: Path) -> list[str]:
    """The names of a file's columns, without blanks around them.

    Raises UsageError when it cannot be read or is empty.
    """
    kind = _kind(path)
    with _readable(path):
        if kind == ".parquet":
            with path.open("rb") as file:
                return [name.strip() for name in pl.read_parquet_schema(file)]
        # as it stands: polars renames a column that is there twice
        with _text(path, "utf-8-sig", "replace") as stream:
            names = next(filter(None, csv.reader(stream, delimiter=TEXTS[kind])), None)
    if names is None:
        raise UsageError(f"{path} is empty")
    if any("\0" in name for name in names):
        raise UsageError(f"{path} is not UTF-8 text, but perhaps UTF-16: save it as UTF-8")
    if len(names) == 1 and (other := next((mark for mark in ";\t," if mark in names[0]), None)):
        remedy = {"\t": "call it .tsv", ",": "call it .csv"}.get(other, "write it with commas, or as Parquet")
        raise UsageError(f"{path} separates its columns by {other!r}: {remedy}")
    return [name.strip() for name in names]


def _lines_before_the_header(path: Path) -> int:
    """How many blank ones there are."""
    with _readable(path), _text(path, "utf-8-sig", "replace") as stream:
        return sum(1 for _ in takewhile(lambda line: not line.strip("\r\n"), stream))


def _kind(path: Path) -> str:
    """``.csv``, ``.tsv`` or ``.parquet``."""
    if not path.name.lower().endswith(KINDS):
        raise UsageError(f"{path} has none of the endings {', '.join(KINDS)}")
    return Path(path.name.lower().removesuffix(GZIPPED)).suffix


def _text(path: Path, encoding: str = "utf-8", errors: str = "strict") -> TextIO:
    if path.name.lower().endswith(GZIPPED):
        return gzip.open(path, "rt", encoding=encoding, errors=errors, newline="")
    return path.open(encoding=encoding, errors=errors, newline="")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        with fetch.reading(path):
            yield
    except (pl.exceptions.PolarsError, csv.Error, EOFError, zlib.error) as error:
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
        with _text(path) as stream:
            rows = csv.reader(stream, delimiter=delimiter, strict=True)
            width = len(next(filter(None, rows)))
            for row in rows:
                row = row or [""] * width  # a blank line
                if len(row) != width:
                    raise UsageError(f"{path}, line {rows.line_num}: {len(row)} fields where the header has {width}")
                yield row
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.line_num}: not readable ({error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start:,})") from error
