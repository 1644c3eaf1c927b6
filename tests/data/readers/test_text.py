"""Delimited text: parsed fast, and a bad line is named."""

import polars as pl
import pytest

from cpbench.data.readers.text import delimited
from cpbench.errors import UsageError

COLUMNS = {"id": pl.String, "n": pl.Int64}


def test_rows_keep_the_order_of_the_file() -> None:
    assert delimited(b"b::2\na::1\n", "f", "::", COLUMNS).rows() == [("b", 2), ("a", 1)]


@pytest.mark.parametrize("content", [b"a\t1\r\nb\t2\r\n", b"a\t1\nb\t2", b"id\tn\na\t1\nb\t2\n"])
def test_line_ends_and_headers(content: bytes) -> None:
    assert delimited(content, "f", "\t", COLUMNS, header=content[:2] == b"id").rows() == [("a", 1), ("b", 2)]


def test_quotes_mean_nothing() -> None:
    assert delimited(b'"a\t1\nb"\t2\n', "f", "\t", COLUMNS).rows() == [('"a', 1), ('b"', 2)]


def test_latin_1() -> None:
    assert delimited("é\t1".encode("latin-1"), "f", "\t", COLUMNS, encoding="latin-1").rows() == [("é", 1)]


def test_fields_that_may_be_empty() -> None:
    assert delimited(b"\t1\n", "f", "\t", COLUMNS, may_be_empty=("id",)).rows() == [(None, 1)]


@pytest.mark.parametrize(("line", "reason"), [
    (b"x\t1\t2", "3 fields where 2 are expected (id, n)"),
    (b"x", "1 fields where 2 are expected (id, n)"),
    (b"", "1 fields where 2 are expected (id, n)"),
    (b"x\t", "n is missing"),
    (b"\t1", "id is missing"),
    (b"x\tabc", "n is 'abc', not a 64-bit whole number"),
    (b"x\t1.5", "n is '1.5', not a 64-bit whole number"),
    (b"x\t1_000", "n is '1_000', not a 64-bit whole number"),
    (b"x\t99999999999999999999", "n is '99999999999999999999', not a 64-bit whole number"),
    (b"\xff\t1", "id is not UTF-8 text"),
])
def test_a_malformed_line_is_named_with_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        delimited(b"a\t1\n" + line + b"\nb\t2\n", "u.data", "\t", COLUMNS)
    assert str(caught.value) == f"u.data, line 2: {reason}"


def test_the_header_counts_as_a_line() -> None:
    with pytest.raises(UsageError, match="f, line 3: n is missing"):
        delimited(b"id\tn\na\t1\nb\t\n", "f", "\t", COLUMNS, header=True)


@pytest.mark.parametrize(("content", "header"), [(b"", False), (b"\n\n", False), (b"id\tn\n", True), (b"id\tn", True)])
def test_an_empty_file(content: bytes, header: bool) -> None:
    with pytest.raises(UsageError, match="f is empty"):
        delimited(content, "f", "\t", COLUMNS, header=header)
