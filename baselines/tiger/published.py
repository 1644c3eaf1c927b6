"""Semantic ids that others published: LETTER's index files, so that a generator can be tested apart from a tokeniser.

An index is a JSON object: item -> its codes in order, each the text of a token (``"<a_183>"``) or a number. Items go by
their ids, or by numbers from 0 that a map (S3-Rec's ``id_maps``: ``{"item": {"1": id, ...}}``) turns into ids.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cpbench.data.dataset import Dataset
from cpbench.errors import UsageError

from .tokeniser import Health, Tokeniser, tell_apart


def read_index(dataset: Dataset, index: Path, items: Path | None = None) -> Tokeniser:
    """The tokeniser of the index file, in the order of the items of `dataset`.

    `items`: the map from item numbers to ids. Raises UsageError for unreadable files and for items without codes.
    """
    codes = _json(index)
    if items is not None:
        names = _json(items).get("item", {})
        codes = {names.get(str(int(number) + 1)): row for number, row in codes.items() if str(number).isdigit()}
    ids = [str(name) for name in dataset.item_table["id"].to_list()]
    missing = [name for name in ids if name not in codes]
    if missing:
        hint = "" if items is not None else "; if they go by number, give the map from numbers to ids with token_items"
        raise UsageError(f"{index} has no codes for {len(missing)} of the {len(ids)} items of {dataset.name} "
                         f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}){hint}")
    rows = [codes[name] for name in ids]
    try:
        table = np.array([[int(re.findall(r"\d+", str(token))[-1]) for token in row] for row in rows], dtype=np.int64)
    except (ValueError, IndexError, TypeError) as error:
        raise UsageError(f"{index}: not every item has the same number of codes, each with a number in it") from error
    if table.ndim != 2 or table.shape[1] == 0:
        raise UsageError(f"{index}: not every item has the same number of codes, each with a number in it")
    health = Health.of(table, (table.max(0) + 1).tolist())
    return Tokeniser(torch.from_numpy(tell_apart(table)), dataset.name, dataset.fingerprint, index.name, health)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        document = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} holds no JSON object")
    return document
