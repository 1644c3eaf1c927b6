"""Delimited text without quoting, as the classical datasets ship it."""

import io
import re
from collections.abc import Collection, Mapping

import polars as pl

from cpbench.errors import UsageError

Columns = Mapping[str, type[pl.DataType]]
"""Column names in order -> pl.String or pl.Int64."""
WHOLE = re.compile(r"\s*[+-]?[0-9]+")


def delimited(content: bytes, name: str, separator: str, columns: Columns, *, header: bool = False,
              may_be_empty: Collection[str] = (), encoding: str = "utf-8") -> pl.DataFrame:
    """Parse `content` into `columns` (String or Int64), in file order.

    `name` is what an error calls the file. Raises UsageError naming file, line and reason for a malformed line.
    """
    text = content.replace(b"\r\n", b"\n").rstrip(b"\n")
    if encoding != "utf-8":
        text = text.decode(encoding).encode()
    single = separator.encode()
    if len(separator) > 1:  # polars splits on one byte; a control character occurs in none of these files
        single = b"\x1f"
        text = text.replace(separator.encode(), single)
    try:
        frame = pl.read_csv(io.BytesIO(text), separator=single.decode(), has_header=False, skip_rows=int(header),
                            schema=dict(columns), quote_char=None, encoding="utf8")
        if frame.is_empty():
            raise UsageError(f"{name} is empty")
        if sum(frame.drop(may_be_empty).null_count().row(0)) == 0:
            return frame
    except pl.exceptions.NoDataError:
        raise UsageError(f"{name} is empty") from None
    except pl.exceptions.PolarsError:
        pass
    raise malformed(text, name, single, columns, header, may_be_empty)


def malformed(text: bytes, name: str, separator: bytes, columns: Columns, header: bool,
              may_be_empty: Collection[str]) -> UsageError:
    """Find the first line that does not parse: slow, and only ever run on a file that is known to be bad."""
    for number, line in enumerate(text.split(b"\n"), start=1):
        if header and number == 1:
            continue
        fields = line.split(separator)
        if len(fields) != len(columns):
            return UsageError(f"{name}, line {number}: {len(fields)} fields where {len(columns)} are expected "
                              f"({', '.join(columns)})")
        for field, (column, kind) in zip(fields, columns.items(), strict=True):
            try:
                value = field.decode()
            except UnicodeDecodeError:
                return UsageError(f"{name}, line {number}: {column} is not UTF-8 text")
            if not value and column not in may_be_empty:
                return UsageError(f"{name}, line {number}: {column} is missing")
            if kind is pl.Int64 and not (WHOLE.fullmatch(value) and -(2**63) <= int(value) < 2**63):
                return UsageError(f"{name}, line {number}: {column} is {value!r}, not a 64-bit whole number")
    return UsageError(f"{name} cannot be parsed as lines of {', '.join(columns)}")
