"""Amazon product data of 2014 (McAuley et al. 2015): 5-core reviews (JSON lines) and metadata (Python literals)."""

import ast
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from cpbench.data.unpack import gunzip, gzip_lines
from cpbench.errors import UsageError

REVIEW = {"reviewerID": pl.String, "asin": pl.String, "unixReviewTime": pl.Int64}
ASIN = re.compile(rb"""['"]asin['"]:\s*['"]([^'"]+)['"]""")


def interactions(files: Mapping[str, Path]) -> pl.DataFrame:
    """One row per review, in file order (by asin in the official files)."""
    path = files["reviews"]
    content = gunzip(path)
    if not content.strip():
        raise UsageError(f"{path.name} is empty")
    try:
        reviews = pl.read_ndjson(io.BytesIO(content), schema=REVIEW)
    except pl.exceptions.PolarsError:
        raise _malformed(content, path.name) from None
    if sum(reviews.null_count().row(0)):
        raise _malformed(content, path.name)
    return reviews.rename({"reviewerID": "user", "asin": "item", "unixReviewTime": "time"})


def _malformed(content: bytes, name: str) -> UsageError:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            review = json.loads(line)
        except ValueError as error:
            return UsageError(f"{name}, line {number}: not a JSON object ({error})")
        for key, kind in REVIEW.items():
            value = review.get(key) if isinstance(review, dict) else None
            if not isinstance(value, str if kind is pl.String else int):
                return UsageError(f"{name}, line {number}: {key} is {value!r}, "
                                  f"not {'a string' if kind is pl.String else 'a whole number'}")
    return UsageError(f"{name} cannot be parsed as JSON lines of {', '.join(REVIEW)}")


def items(files: Mapping[str, Path], kept: pl.Series) -> pl.DataFrame:
    """Title, brand, categories and, where any product has one, the price; without the metadata file, ids only.

    A product lies in several category trees: its categories are all names below the roots
    (the root names the whole dataset).
    """
    columns: dict[str, Any] = {"id": pl.String, "title": pl.String, "category": pl.List(pl.String),
                               "brand": pl.List(pl.String), "price": pl.Float64}
    if "meta" not in files:
        return pl.DataFrame({"id": kept}).with_columns(title=pl.lit(None, pl.String)).select("id", "title")
    wanted = {asin.encode() for asin in kept}
    rows = []
    for number, line in enumerate(gzip_lines(files["meta"]), start=1):
        found = ASIN.search(line)
        # parsing a Python literal is slow and most products have no 5-core reviews
        if found is None or found[1] not in wanted:
            continue
        rows.append(_product(line, f"{files['meta'].name}, line {number}"))
    table = pl.DataFrame(rows, schema=columns, orient="row").unique("id", keep="first", maintain_order=True)
    return table if table["price"].count() else table.drop("price")


def _product(line: bytes, place: str) -> tuple[str, str | None, list[str], list[str], float | None]:
    try:
        product: dict[str, Any] = ast.literal_eval(line.decode().strip())
        paths = product.get("categories", [])
        categories = list(dict.fromkeys(name for path in paths for name in path[1:]))
        brand, price = product.get("brand"), product.get("price")
        return (str(product["asin"]), product.get("title"), categories, [brand] if brand else [],
                None if price is None else float(price))
    except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
        raise UsageError(f"{place}: not the Python literal of a product ({error})") from error
