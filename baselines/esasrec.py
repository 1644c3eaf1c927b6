"""eSASRec: SASRec's task with LiGR blocks and a sampled softmax (Tikhonovich et al., RecSys 2025,
https://arxiv.org/abs/2508.06450; the blocks: Borisyuk et al., "From Features to Transformers", 2025,
https://arxiv.org/abs/2502.03417).

item vectors (some of their numbers dropped) + position vectors -> dropout
-> [x + sigmoid(gate) * attention(norm(x)) -> x + sigmoid(gate) * SwiGLU(norm(x))] x blocks, causal
-> inner product with the item vectors (less the same numbers) -> sampled softmax at every position.

A gate is a linear function of the x that enters its half of the block. As in the authors' code there is no norm after
the last block. Negatives are drawn uniformly from the catalogue, for every position as theirs or, at a fraction of the
cost, for the batch (`shared_negatives`); taking part of them from the batch ("mixed") lowered their accuracy on two of
three datasets, corrected or not: left out.
"""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cpbench.models.base import Facts, Sequences
from cpbench.models.layers import Dropout, Grid, SelfAttention, from_the_end
from cpbench.models.next_item import Loss, NextItemConfig, NextItemModel


class ESASRecConfig(NextItemConfig):
    """Defaults are the authors' for Beauty."""

    loss: Loss = "sampled-softmax"
    width: int = Field(256, ge=1)
    blocks: int = Field(1, ge=1)
    heads: int = Field(1, ge=1)
    feed_forward: int = Field(4, ge=1)
    """Inner width of SwiGLU as a multiple of `width`."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """On the input, inside SwiGLU, and on what attention and SwiGLU add."""
    attention_dropout: float = Field(0.2, ge=0, lt=1)
    """On attention weights; above 0 it forbids fused attention."""
    item_dropout: float = Field(0.0, ge=0, lt=1)
    """On the item vectors, read and scored alike: one mask [N, D] a batch. The authors' code has it, at `dropout`."""


class SwiGLU(nn.Module):
    """Feed-forward whose inner layer is gated: (SiLU(W x) * V x) U (Shazeer 2020), without biases."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.gate_and_value = nn.Linear(width, 2 * inner, bias=False)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate_and_value(x).chunk(2, dim=-1)
        out: Tensor = self.output(self.dropout(F.silu(gate) * value))
        return out


class Block(nn.Module):
    """One LiGR block: pre-norm, and a learned gate before each residual is added."""

    def __init__(self, config: ESASRecConfig) -> None:
        super().__init__()
        width = config.width
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, config.heads, config.attention_dropout)
        self.attention_gate = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = SwiGLU(width, config.feed_forward * width, config.dropout)
        self.feed_forward_gate = nn.Linear(width, width)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """The P real cells of a batch, [P, D] -> [P, D]."""
        attended = self.attention(self.attention_norm(x), grid=grid)
        x = x + torch.sigmoid(self.attention_gate(x)) * self.dropout(attended)
        return x + torch.sigmoid(self.feed_forward_gate(x)) * self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class ESASRec(NextItemModel):
    """Gated self-attention over the last `length` items."""

    name = "esasrec"
    Config = ESASRecConfig
    config: ESASRecConfig

    def __init__(self, config: ESASRecConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.items = nn.Embedding(facts.n_items, config.width)
        self.positions = nn.Embedding(config.length, config.width)
        self.item_dropout = Dropout(config.item_dropout)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.xavier_normal_(module.weight)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def item_matrix(self) -> Tensor:
        return self.items.weight

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        inputs = batch.inputs()
        rows, items = inputs.asking(), self.item_dropout(self.item_matrix())
        return self.catalogue_loss(self.states(inputs, items)[rows], batch.items[:, 1:][rows], items), {}

    def hidden(self, batch: Sequences) -> Tensor:
        return self.states(batch, self.item_matrix())

    def states(self, batch: Sequences, items: Tensor) -> Tensor:
        """`hidden` with the item vectors `items` [N, D]."""
        grid = Grid(batch.real())
        position = from_the_end(batch.lengths, batch.items.shape[1], self.config.length)
        x = self.dropout(F.embedding(grid.pack(batch.items), items) + self.positions(grid.pack(position)))
        for block in self.blocks:
            x = block(x, grid)
        return grid.spread(x)
