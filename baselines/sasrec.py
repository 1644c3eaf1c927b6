"""SASRec: self-attentive sequential recommendation (Kang & McAuley, ICDM 2018, https://arxiv.org/abs/1808.09781).

item vectors * sqrt(D) + position vectors -> dropout
-> [norm on the queries, causal attention, residual -> norm, point-wise feed-forward, residual] x blocks
-> norm -> inner product with the item vectors -> loss at every position.

`dropout` acts on the input and inside the feed-forward, `attention_dropout` on the attention weights (the paper's code
has one rate for both), `output_dropout` on what attention adds.

`request_time` adds, to the input, a vector for the time from the row's own interaction to the moment at which the next
item is asked for, in HSTU's buckets: not in the paper, but what a fair comparison with HSTU's public code needs.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cpbench.models.base import Facts, ModelConfig, Sequences
from cpbench.models.layers import TIME_BUCKETS, Dropout, attend, merge_heads, split_heads, time_buckets
from cpbench.models.losses import (
    binary_cross_entropy,
    full_softmax,
    gbce_calibration,
    sampled_softmax,
    uniform_negatives,
)
from cpbench.models.sequence import SequenceModel


class SASRecConfig(ModelConfig):
    """Defaults are the paper's where it gives them; each recipe states its source."""

    length: int = Field(50, ge=1)
    """Most recent interactions read (L)."""
    width: int = Field(64, ge=1)
    blocks: int = Field(2, ge=1)
    heads: int = Field(1, ge=1)
    feed_forward: int = Field(1, ge=1)
    """Inner width of the feed-forward as a multiple of `width` (1 in the paper)."""
    dropout: float = Field(0.2, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """On attention weights (the paper's code); above 0 it forbids fused attention."""
    output_dropout: float = Field(0.0, ge=0, lt=1)
    """On the output of attention, before the residual: not in the paper; what a small catalogue's softmax needs."""
    loss: Literal["bce", "softmax", "sampled-softmax", "gbce"] = "softmax"
    negatives: int = Field(256, ge=1)
    """sampled-softmax: shared by a batch; gbce: drawn per position. bce always draws one."""
    gbce_t: float = Field(0.75, ge=0, le=1)
    """Calibration of gbce: 0 is plain binary cross-entropy."""
    request_time: bool = False
    """Every row also sees how long after its own interaction the next item is asked for."""


class Block(nn.Module):
    """One block. As in the paper's code the query is normalised, keys and values are not."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.attention_dropout = config.attention_dropout
        self.output_dropout = Dropout(config.output_dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, config.feed_forward * width),
            nn.ReLU(),
            Dropout(config.dropout),
            nn.Linear(config.feed_forward * width, width),
            Dropout(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        normed = self.attention_norm(x)
        query, key, value = (split_heads(part, self.heads)
                             for part in (self.query(normed), *self.key_value(x).chunk(2, dim=-1)))
        mixed = attend(query, key, value, dropout=self.attention_dropout if self.training else 0.0)
        x = self.feed_forward_norm(normed + self.output_dropout(self.output(merge_heads(mixed))))
        return x + self.feed_forward(x)


class SASRec(SequenceModel):
    """Self-attention over the last `length` items; four losses: bce (paper), gbce, sampled-softmax, softmax."""

    name = "sasrec"
    Config = SASRecConfig
    config: SASRecConfig

    def __init__(self, config: SASRecConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        if config.width % config.heads:
            raise ValueError(f"width {config.width} is not a multiple of heads {config.heads}")
        self.items = nn.Embedding(facts.n_items, config.width)
        self.positions = nn.Embedding(config.length, config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.gaps = nn.Embedding(TIME_BUCKETS, config.width) if config.request_time else None
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.xavier_normal_(module.weight)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @property
    def information(self) -> list[str]:
        return ["times", "request time"] if self.config.request_time else []

    @property
    def max_length(self) -> int:
        return self.config.length

    def item_matrix(self) -> Tensor:
        return self.items.weight

    def hidden(self, batch: Sequences) -> Tensor:
        # positions count from the end of the sequence, as left padding would have it
        position = torch.arange(batch.items.shape[1], device=self.device) - batch.lengths[:, None]
        x = self.items(batch.items) * self.config.width**0.5 + self.positions(position % self.config.length)
        if self.gaps is not None:
            x = x + self.gaps(time_buckets(batch.asked() - batch.times))
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        inputs = batch.inputs()
        real = inputs.real()
        hidden, targets = self.hidden(inputs)[real], batch.items[:, 1:][real]  # [T, D], [T]
        loss = self.catalogue_loss(hidden, targets)
        return loss, {}

    def catalogue_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        config, items, n_items = self.config, self.item_matrix(), self.facts.n_items
        if config.loss == "softmax":
            return full_softmax(hidden, items, targets)
        if config.loss == "sampled-softmax":
            return sampled_softmax(hidden, items, targets, uniform_negatives(config.negatives, n_items, self.device))
        count = config.negatives if config.loss == "gbce" else 1
        negatives = uniform_negatives(len(targets) * count, n_items, self.device).view(-1, count)
        calibration = gbce_calibration(count, n_items, config.gbce_t) if config.loss == "gbce" else 1.0
        return binary_cross_entropy(hidden, items, targets, negatives, calibration)
