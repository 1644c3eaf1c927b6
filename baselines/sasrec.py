"""SASRec: self-attentive sequential recommendation (Kang & McAuley, ICDM 2018, https://arxiv.org/abs/1808.09781).

item vectors * sqrt(D) + position vectors -> dropout
-> [norm on the queries, causal attention, residual -> norm, point-wise feed-forward, residual] x blocks
-> norm -> inner product with the item vectors -> loss at every position.

`dropout` acts on the input and inside the feed-forward, `attention_dropout` on the attention weights (the paper's code
has one rate for both), `output_dropout` on what attention adds.

`request_time` adds, to the input, a vector for the time from the row's own interaction to the moment at which the next
item is asked for, in HSTU's buckets: not in the paper, but what a fair comparison with HSTU's public code needs.
"""

from pydantic import Field
from torch import Tensor, nn

from cpbench.models.base import Facts, Sequences
from cpbench.models.layers import TIME_BUCKETS, Dropout, attend, from_the_end, merge_heads, split_heads, time_buckets
from cpbench.models.next_item import NextItemConfig, NextItemModel


class SASRecConfig(NextItemConfig):
    """Defaults are the paper's where it gives them; each recipe states its source."""

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


class SASRec(NextItemModel):
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

    def item_matrix(self) -> Tensor:
        return self.items.weight

    def hidden(self, batch: Sequences) -> Tensor:
        position = from_the_end(batch.lengths, batch.items.shape[1], self.config.length)
        x = self.items(batch.items) * self.config.width**0.5 + self.positions(position)
        if self.gaps is not None:
            x = x + self.gaps(time_buckets(batch.asked() - batch.times))
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
