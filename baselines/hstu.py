"""HSTU: Hierarchical Sequential Transduction Units (Zhai et al., ICML 2024, https://arxiv.org/abs/2402.17152).

item vectors * sqrt(D) + position vectors -> dropout
-> [norm -> SiLU(linear) = U, V, Q, K -> pointwise attention A = SiLU(QK' + relative bias) / n, no softmax
    -> norm(AV) * U -> dropout -> linear, residual] x blocks, no feed-forward
-> unit length / temperature -> inner product with the item vectors at unit length -> softmax loss at every position.

The paper's `large` is the same with more blocks and smaller heads. Where paper and public code differ: docs/hstu.md.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cpbench.models.base import Facts, ModelConfig, Sequences
from cpbench.models.layers import TIME_BUCKETS, Dropout, TakeColumns, merge_heads, split_heads, time_buckets
from cpbench.models.losses import full_softmax, sampled_softmax, uniform_negatives
from cpbench.models.sequence import SequenceModel

EPSILON = 1e-6  # of both norms, and the least length of a vector
HIDDEN = -1e4  # SiLU and its derivative are exactly 0 here in float32: the 0/1 mask after SiLU, at no cost


class HSTUConfig(ModelConfig):
    """Defaults are those of the public code for MovieLens-1M, except that it looks at the request time."""

    length: int = Field(200, ge=1)
    """Most recent interactions read (L)."""
    width: int = Field(50, ge=1)
    blocks: int = Field(2, ge=1)
    heads: int = Field(1, ge=1)
    query_width: int = Field(50, ge=1)
    """Of a query and a key of one head (d_qk)."""
    value_width: int = Field(50, ge=1)
    """Of a value and a gate of one head (d_v)."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """On the input, and on the gated output of attention."""
    time_bias: bool = True
    """Attention also depends on the time between two interactions; without it only on their distance."""
    request_time: bool = False
    """A row's time is that at which its next item is asked for (the target's timestamp), as in the public code, and
    not that of its own interaction."""
    temperature: float = Field(0.05, gt=0)
    loss: Literal["sampled-softmax", "softmax"] = "sampled-softmax"
    negatives: int = Field(128, ge=1)
    """Uniform over the catalogue, for sampled-softmax."""
    shared_negatives: bool = False
    """One draw for a whole batch instead of one for every position: much cheaper, not in the paper."""


def pointwise_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, n: int) -> Tensor:
    """SiLU(query key' + bias) / n times value: [B, H, L, *] with bias [B, L, L] -> [B, H, L, d_v].

    A key whose bias is HIDDEN weighs exactly nothing; a row that sees nothing gives zeros.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = query.float(), key.float(), value.float()
        weights = F.silu(query @ key.transpose(-1, -2) + bias[:, None])
        return weights @ (value / n)


class RelativeBias(nn.Module):
    """A learned number for the distance and one for the time between two interactions, shared by the heads."""

    def __init__(self, length: int, time_bias: bool) -> None:
        super().__init__()
        self.by_distance = nn.Parameter(torch.empty(length).normal_(std=0.02))
        self.by_time = nn.Parameter(torch.empty(TIME_BUCKETS).normal_(std=0.02)) if time_bias else None

    def forward(self, gaps: Tensor) -> Tensor:
        """Time buckets int32 [B, L, L] -> bias float32 [B or 1, L, L], HIDDEN where the key lies after the row."""
        position = torch.arange(gaps.shape[-1], device=gaps.device)
        distance = position[:, None] - position
        bias = _take(self.by_distance, distance.clamp(min=0)).masked_fill(distance < 0, HIDDEN)[None]
        return bias if self.by_time is None else bias + _take(self.by_time, gaps)


def _take(table: Tensor, index: Tensor) -> Tensor:
    """table [V], index [...] -> [...]; the gradient costs a third of what nn.Embedding's does (docs/hstu.md)."""
    if table.is_cuda:
        taken: Tensor = TakeColumns.apply(table[None], index)
        return taken[0]
    return torch.index_select(table, 0, index.flatten()).view(index.shape)


class Block(nn.Module):
    """One HSTU layer. The norms learn nothing."""

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__()
        self.heads, self.n = config.heads, config.length
        self.parts = [config.heads * part for part in (config.value_width, config.value_width, config.query_width,
                                                       config.query_width)]
        self.uvqk = nn.Parameter(torch.empty(config.width, sum(self.parts)).normal_(std=0.02))
        self.bias = RelativeBias(config.length, config.time_bias)
        self.norm = nn.LayerNorm(config.width, EPSILON, elementwise_affine=False)
        self.attention_norm = nn.LayerNorm(self.parts[0], EPSILON, elementwise_affine=False)
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(self.parts[0], config.width)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(self, x: Tensor, gaps: Tensor) -> Tensor:
        """[B, L, D] and time buckets int32 [B, L, L] -> [B, L, D]."""
        gate, *others = F.silu(self.norm(x) @ self.uvqk).split(self.parts, dim=-1)
        value, query, key = (split_heads(part, self.heads) for part in others)
        mixed = merge_heads(pointwise_attention(query, key, value, self.bias(gaps), self.n))
        return x + self.output(self.dropout(self.attention_norm(mixed) * gate))


class HSTU(SequenceModel):
    """Gated pointwise attention with relative position and time bias; softmax over unit vectors with a temperature."""

    name = "hstu"
    Config = HSTUConfig
    config: HSTUConfig

    def __init__(self, config: HSTUConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        if config.request_time and not config.time_bias:
            raise ValueError("request_time = true needs time_bias = true: only the time bias looks at times")
        self.items = nn.Embedding(facts.n_items, config.width)
        self.positions = nn.Embedding(config.length, config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        nn.init.trunc_normal_(self.items.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.xavier_normal_(self.positions.weight)

    @property
    def information(self) -> list[str]:
        return ["times"] * self.config.time_bias + ["request time"] * self.config.request_time

    @property
    def max_length(self) -> int:
        return self.config.length

    def item_matrix(self) -> Tensor:
        return F.normalize(self.items.weight, dim=-1, eps=EPSILON)

    def hidden(self, batch: Sequences) -> Tensor:
        position = torch.arange(batch.items.shape[1], device=self.device)
        x = self.dropout(self.items(batch.items) * self.config.width**0.5 + self.positions(position))
        times = batch.asked() if self.config.request_time else batch.times
        gaps = time_buckets(times[:, :, None] - batch.times[:, None, :])
        for block in self.blocks:
            x = block(x, gaps)
        return F.normalize(x, dim=-1, eps=EPSILON) / self.config.temperature

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        inputs = batch.inputs()
        real = inputs.real()
        hidden, targets = self.hidden(inputs)[real], batch.items[:, 1:][real]  # [T, D], [T]
        return self.catalogue_loss(hidden, targets), {}

    def catalogue_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        config, items, n_items = self.config, self.item_matrix(), self.facts.n_items
        if config.loss == "softmax":
            return full_softmax(hidden, items, targets)
        size = (config.negatives,) if config.shared_negatives else (len(targets), config.negatives)
        return sampled_softmax(hidden, items, targets, uniform_negatives(size, n_items, self.device))
