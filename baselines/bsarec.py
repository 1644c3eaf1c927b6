"""BSARec: self-attention with an inductive bias from the frequency domain (Shin et al., AAAI 2024,
https://arxiv.org/abs/2312.10325).

norm(item vectors + position vectors) -> dropout
-> [alpha * frequency layer + (1 - alpha) * causal attention -> feed-forward] x blocks, each with residual, then norm
-> inner product with the item vectors -> softmax over the catalogue at every position.

The frequency layer splits x into the slow part, its lowest Fourier components over the last L positions, and the rest,
and weighs the rest per channel: low + beta^2 (x - low). The authors pad every training prefix to L on the left,
transform all of it, and learn from its last row alone. Read at its last row, that low pass is a fixed weight per
distance (`low_pass_weights`). So here every row gets the low pass of its own left-padded prefix, in one pass,
and no row sees its future: a transform over a whole training sequence would.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from cpbench.models.base import Facts, Sequences
from cpbench.models.layers import Dropout, SelfAttention, from_the_end
from cpbench.models.next_item import NextItemConfig, NextItemModel


class BSARecConfig(NextItemConfig):
    """Defaults are those of the authors' code for Beauty."""

    width: int = Field(64, ge=1)
    blocks: int = Field(2, ge=1)
    heads: int = Field(1, ge=1)
    feed_forward: int = Field(4, ge=1)
    """Inner width of the feed-forward as a multiple of `width`."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """On the input and on what each of frequency layer, attention and feed-forward adds."""
    attention_dropout: float = Field(0.5, ge=0, lt=1)
    """On attention weights; above 0 it forbids fused attention."""
    alpha: float = Field(0.7, ge=0, le=1)
    """Share of the frequency layer; the rest is attention (Eq. 5)."""
    frequencies: int = Field(5, ge=1)
    """Fourier components of the low pass (c): the constant and c // 2 waves, as in the code of the authors."""


def low_pass_weights(length: int, frequencies: int) -> Tensor:
    """What the low pass of a window of `length` rows gives its last row, as a weight per distance: float32 [L].

    The `frequencies` lowest components of a real signal: a constant and cosines of the distance (Eq. 3 at one row).
    """
    pairs = min(frequencies // 2, length // 2)
    waves = torch.cos(torch.arange(pairs + 1)[:, None] * torch.arange(length) * (2 * torch.pi / length))
    multiplicity = torch.full((pairs + 1, 1), 2.0)
    multiplicity[0] = 1.0
    if 2 * pairs == length:  # the fastest component of an even window has no partner
        multiplicity[-1] = 1.0
    return (multiplicity * waves).sum(0) / length


class FrequencyLayer(nn.Module):
    """Low pass over the row's own past, plus the weighted rest (Eq. 3 and 4)."""

    weights: Tensor

    def __init__(self, config: BSARecConfig) -> None:
        super().__init__()
        self.sqrt_beta = nn.Parameter(torch.randn(config.width))
        self.dropout = Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)
        distance = torch.arange(config.length)[:, None] - torch.arange(config.length)
        causal = low_pass_weights(config.length, config.frequencies)[distance.clamp(min=0)] * (distance >= 0)
        self.register_buffer("weights", causal, persistent=False)  # [L, L]

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        low = self.weights[:x.shape[1], :x.shape[1]].to(x.dtype) @ x
        filtered = low + self.sqrt_beta**2 * (x - low)
        normed: Tensor = self.norm(x + self.dropout(filtered))
        return normed


class Block(nn.Module):
    """Frequency layer and attention side by side, then the feed-forward (Eq. 5); post-norm."""

    def __init__(self, config: BSARecConfig) -> None:
        super().__init__()
        self.alpha = config.alpha
        self.frequency = FrequencyLayer(config)
        self.attention = SelfAttention(config.width, config.heads, config.attention_dropout)
        self.dropout = Dropout(config.dropout)
        self.attention_norm = nn.LayerNorm(config.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.width, config.feed_forward * config.width),
            nn.GELU(),
            nn.Linear(config.feed_forward * config.width, config.width),
            Dropout(config.dropout),
        )
        self.feed_forward_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        attended = self.attention_norm(x + self.dropout(self.attention(x)))
        mixed = self.alpha * self.frequency(x) + (1 - self.alpha) * attended
        normed: Tensor = self.feed_forward_norm(mixed + self.feed_forward(mixed))
        return normed


class BSARec(NextItemModel):
    """Attention beside a low pass over the last `length` items. Before the first interaction the signal is zero."""

    name = "bsarec"
    Config = BSARecConfig
    config: BSARecConfig

    def __init__(self, config: BSARecConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.items = nn.Embedding(facts.n_items, config.width)
        self.positions = nn.Embedding(config.length, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def item_matrix(self) -> Tensor:
        return self.items.weight

    def hidden(self, batch: Sequences) -> Tensor:
        position = from_the_end(batch.lengths, batch.items.shape[1], self.config.length)
        x = self.dropout(self.norm(self.items(batch.items) + self.positions(position)))
        for block in self.blocks:
            x = block(x)
        return x
