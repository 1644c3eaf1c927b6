"""Item vectors: an id embedding concatenated with the mean embedding of the item's category values (section 3.1).

The same vector is input and scoring target, so the category is visible in the space that is searched.
"""

import torch
from torch import Tensor, nn

from cpbench.data.dataset import usual_attribute
from cpbench.errors import unknown
from cpbench.models.base import Facts


def choose_category(facts: Facts, category: str) -> str | None:
    """``auto`` is genre, else category, else the first attribute there is; ``none`` and no attribute are None.

    Raises UsageError for an attribute that the dataset does not have.
    """
    if category == "none" or (category == "auto" and not facts.attributes):
        return None
    if category == "auto":
        return usual_attribute(list(facts.attributes))
    if category not in facts.attributes:
        raise unknown("item attribute", category, [*facts.attributes, "auto", "none"])
    return category


class ItemVectors(nn.Module):
    """All item vectors [N, D]: D - C columns of the id, C of the category (0 where an item carries no value)."""

    values: Tensor
    offsets: Tensor

    def __init__(self, facts: Facts, width: int, category: str | None, category_width: int) -> None:
        super().__init__()
        self.identity = nn.Embedding(facts.n_items, width - (category_width if category else 0))
        self.category: nn.EmbeddingBag | None = None
        if category:
            attribute = facts.attributes[category]
            self.category = nn.EmbeddingBag(len(attribute.names), category_width, mode="mean")
            self.register_buffer("values", torch.from_numpy(attribute.values.astype("int64")), persistent=False)
            self.register_buffer("offsets", torch.from_numpy(attribute.offsets[:-1].copy()), persistent=False)
        for table in (self.identity, self.category):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)

    def forward(self) -> Tensor:
        """[N, D]."""
        if self.category is None:
            return self.identity.weight
        return torch.cat([self.identity.weight, self.category(self.values, self.offsets)], dim=1)
