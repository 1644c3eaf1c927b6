"""One sentence an item, from whatever its row of the item table says (TIGER, section 4: title, price, brand, category).

The template is part of a tokeniser's identity: other text, other semantic ids.
"""

import html
from collections.abc import Sequence

import polars as pl

from cpbench.data.dataset import Dataset
from cpbench.errors import UsageError, unknown

NO_TEXT = ("id", "released")
"""Columns of an item table that say nothing about what the item is."""


def text_fields(dataset: Dataset, wanted: Sequence[str]) -> list[str]:
    """The columns that make up the text: `wanted`, or by default all there are, the title first.

    Raises UsageError for a column that the item table lacks.
    """
    there = [name for name in dataset.item_table.columns if name not in NO_TEXT]
    for name in wanted:
        if name not in there:
            raise unknown("text field", name, there)
    return list(wanted) or sorted(there, key=lambda name: name != "title")


def template(fields: Sequence[str]) -> str:
    """How the fields are put together, for people.

    >>> template(["title", "brand"])
    '{title}. brand: {brand}.'
    """
    return " ".join("{title}." if name == "title" else f"{name}: {{{name}}}." for name in fields)


def sentences(dataset: Dataset, fields: Sequence[str]) -> list[str]:
    """The text of every item; what an item lacks is left out, and "" is an item that lacks everything.

    Raises UsageError when no item has any text.
    """
    parts = [_column(dataset.item_table[name], name) for name in fields]
    texts = [" ".join(filter(None, row)) for row in zip(*parts, strict=True)]
    if not any(texts):
        raise UsageError(f"no item of dataset {dataset.name!r} has any text ({', '.join(fields) or 'no field'}): "
                         "semantic ids need it; give published ones with tokens=PATH")
    return texts


def _column(column: pl.Series, name: str) -> list[str]:
    texts = []
    for value in column.to_list():
        words = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        words = " ".join(html.unescape(words).split())
        texts.append(words and (f"{words}." if name == "title" else f"{name}: {words}."))
    return texts
