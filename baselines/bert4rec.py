"""BERT4Rec: a bidirectional encoder trained by the cloze task (Sun et al., CIKM 2019, https://arxiv.org/abs/1904.06690).

random interactions of a sequence become [mask]
-> norm(item vectors + position vectors) -> dropout
-> [attention to the whole sequence, residual, norm -> feed-forward (GELU), residual, norm] x blocks
-> linear, GELU, norm -> inner product with the item vectors + a bias per item (Eq. 7)
-> softmax over the catalogue at the masked positions.

To recommend, [mask] is appended to the history and its position answers. Training sees both sides of a masked item but
never the item: [mask] stands in its place before anything else happens. Masks are drawn anew in every epoch (the
authors draw ten sets once). A share of the sequences masks its last item alone, the very task of recommending: the
authors add one such copy to the ten.

Nobody asks for the states of the other positions, so the last block computes those of the [mask]s alone.

With ``output = "own"`` the last two steps are those of RecBoard: the states themselves, and item vectors that are not
the ones that are read.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cpbench.models.base import Facts, ModelConfig, Sequences
from cpbench.models.layers import Dropout, SelfAttention, from_the_end
from cpbench.models.losses import full_softmax
from cpbench.models.sequence import SequenceModel


class BERT4RecConfig(ModelConfig):
    """Defaults are those of the authors' code for Beauty, but for the mask rates."""

    length: int = Field(50, ge=1)
    """Most recent interactions read (L), [mask] not counted."""
    width: int = Field(64, ge=1)
    blocks: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    feed_forward: int = Field(4, ge=1)
    """Inner width of the feed-forward as a multiple of `width`."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """On the input and on what attention and feed-forward add."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """On attention weights; above 0 it forbids fused attention."""
    mask_rate: float = Field(0.2, gt=0, lt=1)
    """Probability that an interaction is masked (rho); at least one of every sequence is."""
    last_share: float = Field(1 / 11, ge=0, le=1)
    """Share of the sequences of which the last interaction alone is masked."""
    output: Literal["tied", "own"] = "tied"
    """Which item vectors answer: those that are read, after a head (the paper), or others, without it (RecBoard)."""


class Block(nn.Module):
    """One post-norm transformer block."""

    def __init__(self, config: BERT4RecConfig) -> None:
        super().__init__()
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

    def forward(self, x: Tensor, bias: Tensor, asked: Tensor | None = None) -> Tensor:
        """x [B, L, D] -> [B, L, D]; bias [B, 1, 1, L] hides padding; `asked` as in `SelfAttention`: -> [B, M, D]."""
        mixed = self.attention(x, bias, asked)
        x = self.attention_norm((x if asked is None else asked) + self.dropout(mixed))
        normed: Tensor = self.feed_forward_norm(x + self.feed_forward(x))
        return normed


class BERT4Rec(SequenceModel):
    """Reads `length` interactions and a [mask]; the item vector after the last item's is the mask's."""

    name = "bert4rec"
    Config = BERT4RecConfig
    config: BERT4RecConfig

    def __init__(self, config: BERT4RecConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.mask = facts.n_items
        self.items = nn.Embedding(facts.n_items + 1, config.width)
        self.positions = nn.Embedding(config.length + 1, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        if config.output == "tied":
            self.head = nn.Sequential(nn.Linear(config.width, config.width), nn.GELU(), nn.LayerNorm(config.width))
        else:
            self.answers = nn.Embedding(facts.n_items, config.width)
        self.item_bias = nn.Parameter(torch.zeros(facts.n_items))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @property
    def max_length(self) -> int:
        return self.config.length

    def item_matrix(self) -> Tensor:
        """Item vectors and, as one more column, their biases, [N, D + 1]: every query ends with a 1."""
        vectors = self.items.weight[:self.mask] if self.config.output == "tied" else self.answers.weight
        return torch.cat([vectors, self.item_bias[:, None]], 1)

    def encode(self, items: Tensor, lengths: Tensor, cells: Tensor) -> Tensor:
        """States of the T cells marked in `cells` bool [B, L], row by row, [T, D]: items int64 [B, L] (`self.mask` is
        [mask]), lengths [B] >= 1."""
        width = items.shape[1]
        position = from_the_end(lengths, width, self.config.length + 1)
        padding = torch.arange(width, device=self.device) >= lengths[:, None]
        bias = torch.zeros(padding.shape, device=self.device).masked_fill(padding, -torch.inf)[:, None, None, :]
        x = self.dropout(self.norm(self.items(items) + self.positions(position)))
        for block in self.blocks[:-1]:
            x = block(x, bias)
        counts = cells.sum(1)
        places = torch.argsort(cells.long(), dim=1, descending=True, stable=True)[:, :int(counts.max())]
        rows = torch.arange(len(items), device=self.device)[:, None]
        states: Tensor = self.blocks[-1](x, bias, x[rows, places])
        return states[torch.arange(places.shape[1], device=self.device) < counts[:, None]]

    def answer(self, states: Tensor) -> Tensor:
        """States [T, D] -> queries [T, D + 1]."""
        asked = self.head(states) if self.config.output == "tied" else states
        return nn.functional.pad(asked, (0, 1), value=1.0)

    def queries(self, batch: Sequences, items: Tensor | None = None) -> Tensor:
        items = nn.functional.pad(batch.items, (0, 1))
        last = torch.arange(items.shape[1], device=self.device) == batch.lengths[:, None]
        return self.answer(self.encode(items.masked_fill(last, self.mask), batch.lengths + 1, last))

    def hidden(self, batch: Sequences) -> Tensor:
        """One encoder pass a position: unlike a causal model's, the state of an item changes with what follows."""
        return torch.stack([self.queries(Sequences(batch.items, batch.times, batch.lengths.clamp(max=seen)))
                            for seen in range(1, batch.items.shape[1] + 1)], 1)

    def masked_cells(self, batch: Sequences) -> Tensor:
        """The cells to be guessed, bool [B, L]: drawn, at least one a row, all of them real."""
        real = batch.real()
        draw = torch.rand(real.shape, device=self.device).masked_fill(~real, 1.0)
        drawn = (draw < self.config.mask_rate) | (draw == draw.amin(1, keepdim=True))
        last = torch.arange(real.shape[1], device=self.device) == batch.lengths[:, None] - 1
        alone = torch.rand(len(real), 1, device=self.device) < self.config.last_share
        return torch.where(alone, last, drawn) & real

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        cells = self.masked_cells(batch)
        states = self.encode(batch.items.masked_fill(cells, self.mask), batch.lengths, cells)
        return full_softmax(self.answer(states), self.item_matrix(), batch.items[cells]), {}
