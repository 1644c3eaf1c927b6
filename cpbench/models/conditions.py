"""Conditions: what an instruction may ask for, and which items satisfy it at the time of a request.

A condition is a value of an item attribute (genre, category, brand, language, ...) or of one of two derived ones:
`popularity` (head, middle or tail of the training interactions) and `freshness` (the item's age at the request).
"""

import numpy as np
import torch
from torch import Tensor, nn

from cpbench.data.dataset import FRESHNESS, POPULARITY, Attribute
from cpbench.data.protocol import Split
from cpbench.errors import UsageError, unknown
from cpbench.models.base import Facts

DAY = 86_400
AGES = {"up to 7 days": 7 * DAY, "up to 30 days": 30 * DAY, "up to a year": 365 * DAY, "older": None}
BANDS = ("head", "middle", "tail")


class Conditions(nn.Module):
    """The V values of one attribute. Items may carry several values, or none; carrying is membership."""

    member: Tensor
    released: Tensor
    until: Tensor

    def __init__(self, facts: Facts, name: str) -> None:
        """Raises UsageError for an attribute that the facts do not hold."""
        super().__init__()
        self.name = name
        self.by_age = name == FRESHNESS and facts.released is not None
        if self.by_age:
            assert facts.released is not None
            self.names = list(AGES)
            ages = [limit for limit in AGES.values() if limit is not None]
            self.register_buffer("released", torch.from_numpy(facts.released.copy()), persistent=False)
            self.register_buffer("until", torch.tensor(ages), persistent=False)
            return
        if name not in facts.attributes:
            derived = [FRESHNESS] if facts.released is not None else []
            raise unknown("condition", name, [*facts.attributes, *derived])
        attribute = facts.attributes[name]
        self.names = attribute.names
        self.register_buffer("member", torch.from_numpy(attribute.matrix()), persistent=False)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int | None:
        """The number of the value `name`: as it is written, else whatever its case (two may differ in case alone)."""
        lower = [known.lower() for known in self.names]
        for names, wanted in ((self.names, name), (lower, name.lower())):
            if wanted in names:
                return names.index(wanted)
        return None

    def value(self, name: str) -> int:
        """As `find`; raises UsageError naming the nearest where there is none."""
        found = self.find(name)
        if found is None:
            raise unknown(self.name, name, self.names)
        return found

    def carries(self, items: Tensor, values: Tensor, times: Tensor) -> Tensor:
        """Whether each item carries the value at that time, bool; all three broadcast against each other."""
        if self.by_age:
            return torch.bucketize(times - self.released[items], self.until) == values
        return self.member[items, values]

    def carriers(self, values: Tensor, times: Tensor) -> Tensor:
        """Which of all items carry each value at its time; values, times [B] -> bool [B, N]."""
        if self.by_age:
            items = torch.arange(len(self.released), device=values.device)
            return self.carries(items, values[:, None], times[:, None])
        return self.member.T[values]

    def draw(self, items: Tensor, times: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """One of each item's values at its time, all equally likely: int64, and whether it has any; shaped as items."""
        flat, when = items.reshape(-1), times.reshape(-1)
        carried = self.carries(flat[:, None], torch.arange(len(self), device=items.device), when[:, None])
        lot = torch.rand(carried.shape, generator=generator, device=items.device).masked_fill(~carried, -1.0)
        best, value = lot.max(dim=1)
        return value.view_as(items), (best >= 0).view_as(items)


def facts_with_conditions(split: Split) -> Facts:
    """The dataset's facts and the derived attributes of this split: popularity bands and release times."""
    facts = Facts.of(split.dataset)
    attributes = {**facts.attributes, POPULARITY: _popularity(split.train_counts)}
    return Facts(facts.n_items, attributes, _released(split))


def condition_names(facts: Facts) -> list[str]:
    """What may follow --condition."""
    return [*facts.attributes, *([FRESHNESS] if facts.released is not None else [])]


def require_condition(name: str, facts: Facts) -> None:
    """Raises UsageError, with the nearest names, for a condition that these data cannot answer."""
    if name not in condition_names(facts):
        raise unknown("condition", name, condition_names(facts))
    if len(Conditions(facts, name)) < 2:
        raise UsageError(f"condition {name!r} has fewer than two values in these data: there is nothing to ask for")


def _popularity(counts: np.ndarray) -> Attribute:
    """Head: the most popular items that make up a third of the training interactions; tail: the least popular third."""
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    band = np.empty(len(counts), dtype=np.int32)
    band[order] = np.minimum(3 * before // max(counts.sum(), 1), 2)
    return Attribute(list(BANDS), band, np.arange(len(counts) + 1))


def _released(split: Split) -> np.ndarray:
    """Release times, int64 [N]; of items without a date, when they first occur in training."""
    first_seen = _first_seen(split)
    dates = split.dataset.item_table.get_column("released", default=None)
    if dates is None:
        return first_seen
    return np.where(dates.is_null().to_numpy(), first_seen, dates.fill_null(0).to_numpy()).astype(np.int64)


def _first_seen(split: Split) -> np.ndarray:
    """When each item first occurs in training, int64 [N]; one that never does is taken to be as new as can be."""
    mask = split.train_mask()
    first = np.full(split.dataset.n_items, split.dataset.times.max(), dtype=np.int64)
    np.minimum.at(first, split.dataset.items[mask], split.dataset.times[mask])
    return first
