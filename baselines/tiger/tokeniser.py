"""Semantic ids: each item as a short tuple of codes, how healthy they are, and the artefact in which they are stored.

text -> embedding -> residual quantisation (three codes) -> items that share their codes told apart, by one more code
(TIGER, section 3.1: 0, 1, 2, ... within the group) or by the last one, shared out: the idea is LC-Rec's (Zheng et al.,
ICDE 2024, https://arxiv.org/abs/2311.09049), by optimal transport there, as an assignment problem here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cpbench.data.dataset import Dataset
from cpbench.errors import UsageError

from .embedding import embed
from .rk_means import rk_means
from .rq_vae import rq_vae
from .text import sentences, template, text_fields

CODES, DOCUMENT = "codes.safetensors", "tokeniser.json"


@dataclass(frozen=True)
class Health:
    """How well the codes are used. `used`, `possible` and `perplexity` have one entry a level of the quantiser."""

    used: list[int]
    possible: list[int]
    """At most so many codes could have been used: there may be fewer distinct items than codes."""
    perplexity: list[float]
    """exp of the entropy of the items over the codes: how many equally popular codes that would be."""
    collisions: float
    """Share of the items whose codes another item has, too."""
    largest_group: int
    """Items that share one tuple of codes, at most."""
    without_text: int = 0
    same_text: float = 0.0
    """Share of the items whose text another item has, too: nothing learned from it can tell them apart."""

    @classmethod
    def of(cls, codes: np.ndarray, possible: Sequence[int], texts: Sequence[str] = ()) -> "Health":
        """Of codes int64 [N, levels], before collisions are resolved."""
        counts = [np.bincount(level) for level in codes.T]
        shares = [count[count > 0] / len(codes) for count in counts]
        group = np.unique(codes, axis=0, return_counts=True)[1]
        return cls([len(share) for share in shares], list(possible),
                   [float(np.exp(-(share * np.log(share)).sum())) for share in shares],
                   _shared(group), int(group.max()), texts.count(""),
                   _shared(np.unique(texts, return_counts=True)[1]) if texts else 0.0)

    def line(self) -> str:
        used = ", ".join(f"{a} of {b}" for a, b in zip(self.used, self.possible, strict=True))
        text = (f"codes used {used}; perplexity {', '.join(f'{value:.0f}' for value in self.perplexity)}; "
                f"{self.collisions:.1%} of the items share their codes, at most {self.largest_group} one tuple")
        text += f"; {self.same_text:.1%} have the text of another item" if self.same_text else ""
        return text + (f"; {self.without_text} items have no text" if self.without_text else "")

    def require(self, least_usage: float) -> None:
        """Raises UsageError for a codebook of which less than the share `least_usage` is used: it has collapsed."""
        for level, (used, possible) in enumerate(zip(self.used, self.possible, strict=True), start=1):
            if used < least_usage * possible:
                raise UsageError(f"the codebook of level {level} has collapsed: {used} of {possible} codes are used, "
                                 f"least_usage asks for {least_usage:.0%}; use quantiser=rk-means, or lower "
                                 "rq_learning_rate")


def _shared(group: np.ndarray) -> float:
    """The share of the items in groups, of these sizes, of more than one."""
    return float(group[group > 1].sum() / group.sum())


@dataclass(frozen=True)
class Tokeniser:
    """codes int64 [N, T], distinct rows; `source` says in words what they were made from and how."""

    codes: Tensor
    dataset: str
    fingerprint: str
    source: str
    health: Health

    @property
    def line(self) -> str:
        """The health line."""
        return f"semantic ids from {self.source}: {self.health.line()}"

    @classmethod
    def fit(cls, dataset: Dataset, *, fields: Sequence[str], embedding: str, width: int, quantiser: str, codes: int,
            levels: int, share_out: bool, least_usage: float, epochs: int, learning_rate: float, seed: int,
            device: torch.device) -> "Tokeniser":
        """Learn the codes of the items of `dataset`. UsageError: no text, no such model, a collapsed codebook."""
        fields = text_fields(dataset, fields)
        texts = sentences(dataset, fields)
        vectors = embed(texts, embedding, width, seed)
        found, possible, distances = (rk_means(vectors, codes, levels, seed) if quantiser == "rk-means" else
                                      rq_vae(vectors, codes, levels, seed, epochs, learning_rate, device))
        health = Health.of(found, possible, texts)
        health.require(least_usage)
        source = f"'{template(fields)}' by {embedding} and {quantiser}"
        if share_out:
            found, source = shared_out(found, distances), f"{source}, the last codes shared out"
        return cls(torch.from_numpy(tell_apart(found)), dataset.name, dataset.fingerprint, source, health)

    def write(self, folder: Path) -> None:
        """Write the artefact into an existing folder: safetensors and JSON."""
        save_file({"codes": self.codes.contiguous()}, folder / CODES)
        document = {"dataset": self.dataset, "fingerprint": self.fingerprint, "source": self.source,
                    "health": vars(self.health)}
        (folder / DOCUMENT).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Tokeniser":
        """Read what `write` wrote. Raises UsageError when there is no such thing."""
        try:
            document: dict[str, Any] = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
            codes = load_file(folder / CODES)["codes"]
            return cls(codes, document["dataset"], document["fingerprint"], document["source"],
                       Health(**document["health"]))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise UsageError(f"no readable tokeniser in {folder}: {error}") from error

    def require_dataset(self, dataset: Dataset) -> None:
        """Raises UsageError when the codes were made for other data."""
        if self.fingerprint != dataset.fingerprint:
            raise UsageError(f"this tokeniser was made for {self.dataset} ({self.fingerprint}), not for "
                             f"{dataset.name} ({dataset.fingerprint}): fit one for these data")


def shared_out(codes: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Codes [N, T] with last codes of which no two are alike among the items that share the others, at the least sum of
    squared `distances` [N, codes] of items to last codes. In a group of more items than codes some keep what they have.
    """
    from scipy.optimize import linear_sum_assignment

    found = codes.copy()
    group = np.unique(codes[:, :-1], axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(group, kind="stable")
    for items in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        chosen, last = linear_sum_assignment(distances[items] ** 2)
        found[items[chosen], -1] = last
    return found


def tell_apart(codes: np.ndarray) -> np.ndarray:
    """Append to codes [N, T] each item's number among those that share its row; nothing where all rows are distinct."""
    group = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[order])
    number = np.empty(len(codes), dtype=np.int64)
    number[order] = np.arange(len(codes)) - first
    return np.column_stack([codes, number]) if number.any() else codes
