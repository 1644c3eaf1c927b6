"""What every causal sequence model shares that is trained to name the next item: one forward pass, four losses."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from cpbench.models.base import ModelConfig, Sequences
from cpbench.models.losses import (
    binary_cross_entropy,
    full_softmax,
    gbce_calibration,
    sampled_softmax,
    uniform_negatives,
)
from cpbench.models.sequence import SequenceModel

Loss = Literal["bce", "softmax", "sampled-softmax", "gbce"]


class NextItemConfig(ModelConfig):
    """Length and loss. A model overrides the defaults by what its paper gives."""

    length: int = Field(50, ge=1)
    """Most recent interactions read (L)."""
    loss: Loss = "softmax"
    negatives: int = Field(256, ge=1)
    """sampled-softmax and gbce; bce always draws one."""
    shared_negatives: bool = True
    """sampled-softmax: one draw for a batch; false draws for every position, as gbce and bce do."""
    gbce_t: float = Field(0.75, ge=0, le=1)
    """Calibration of gbce: 0 is plain binary cross-entropy."""


class NextItemModel(SequenceModel):
    """The state after interaction q is asked for interaction q + 1, at all positions of a sequence in one pass."""

    config: NextItemConfig
    trains_one_target = True

    @property
    def max_length(self) -> int:
        return self.config.length

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        inputs = batch.inputs()
        rows = inputs.asking()
        hidden, targets = self.hidden(inputs)[rows], batch.items[:, 1:][rows]  # [T, D], [T]
        return self.catalogue_loss(hidden, targets), {}

    def catalogue_loss(self, hidden: Tensor, targets: Tensor, items: Tensor | None = None) -> Tensor:
        """The configured loss of queries hidden [T, D] for targets int64 [T], a scalar; `items` [N, D]: other vectors
        than `item_matrix`."""
        config, n_items = self.config, self.facts.n_items
        items = self.item_matrix() if items is None else items
        if config.loss == "softmax":
            return full_softmax(hidden, items, targets)
        if config.loss == "sampled-softmax":
            size = (config.negatives,) if config.shared_negatives else (len(targets), config.negatives)
            return sampled_softmax(hidden, items, targets, uniform_negatives(size, n_items, self.device))
        count = config.negatives if config.loss == "gbce" else 1
        negatives = uniform_negatives((len(targets), count), n_items, self.device)
        calibration = gbce_calibration(count, n_items, config.gbce_t) if config.loss == "gbce" else 1.0
        return binary_cross_entropy(hidden, items, targets, negatives, calibration)
