"""The encoder-decoder of TIGER: T5 (Raffel et al., JMLR 2020, https://arxiv.org/abs/1910.10683) over semantic ids.

Pre-norm with RMSNorm, no biases, ReLU feed-forward, one relative position bias a stack, shared by its layers. As in T5
one table holds the token vectors and, divided by sqrt(D), the output weights; each position of a semantic id has codes
of its own, and its softmax runs over these alone. T5 leaves the factor 1 / sqrt(head width) out of its logits and puts
it into the initial query weights; here it stands in the logits.

Shapes: B users, W beams, S encoder tokens, T codes of an item, D width, H heads, E head width.
"""

import math
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpbench.models.layers import Dropout, Grid

BUCKETS = 32
MAX_DISTANCE = 128


class Size(NamedTuple):
    width: int
    heads: int
    head_width: int
    feed_forward: int
    layers: int
    dropout: float


def relative_buckets(distance: Tensor, both_ways: bool) -> Tensor:
    """T5's bucket of key position minus query position: half of them exact, the others logarithmic up to 128."""
    buckets = BUCKETS
    if both_ways:
        buckets //= 2
        later = (distance > 0) * buckets
        distance = distance.abs()
    else:
        later = torch.zeros_like(distance)
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    scaled = (distance.clamp(min=1) / exact).log() / math.log(MAX_DISTANCE / exact) * (buckets - exact)
    far = (exact + scaled.long()).clamp(max=buckets - 1)
    return later + torch.where(distance < exact, distance, far)


class RelativeBias(nn.Module):
    """What a head adds to the logits for the distance of a key."""

    def __init__(self, size: Size, both_ways: bool) -> None:
        super().__init__()
        self.both_ways = both_ways
        self.weight = nn.Parameter(torch.randn(BUCKETS, size.heads) * size.width**-0.5)

    def forward(self, queries: int, keys: int) -> Tensor:
        """[H, queries, keys]: the last `queries` of `keys` positions look at all of them."""
        place = torch.arange(keys, device=self.weight.device)
        return self.of(place - place[keys - queries:, None])

    def of(self, distance: Tensor) -> Tensor:
        """The bias of keys int64 [..., L, M] tokens after their queries, [..., H, L, M]."""
        return self.weight[relative_buckets(distance, self.both_ways)].movedim(-1, -3)


class Attention(nn.Module):
    """Multi-head attention whose heads together may be wider than the model."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        inner = size.heads * size.head_width
        self.heads = size.heads
        self.query = nn.Linear(size.width, inner, bias=False)
        self.key_value = nn.Linear(size.width, 2 * inner, bias=False)
        self.output = nn.Linear(inner, size.width, bias=False)
        self.dropout = Dropout(size.dropout)
        for layer, fan_in in ((self.query, size.width), (self.key_value, size.width), (self.output, inner)):
            nn.init.normal_(layer.weight, std=fan_in**-0.5)

    def keys_values(self, x: Tensor, grid: Grid | None = None) -> tuple[Tensor, Tensor]:
        """[..., L, D], or with a grid the packed [P, D] -> two of [..., H, L, E]."""
        both = self.key_value(x)
        key, value = (grid.spread(both) if grid else both).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return key.transpose(-2, -3), value.transpose(-2, -3)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """Query [..., L, H E], keys, values [..., H, M, E], bias broadcasting to [..., H, L, M] -> [..., L, H E]."""
        query = query.unflatten(-1, (self.heads, -1)).transpose(-2, -3)
        logits = query @ key.transpose(-1, -2) * query.shape[-1]**-0.5 + bias
        weights = self.dropout(torch.softmax(logits, -1))
        return (weights.to(value.dtype) @ value).transpose(-2, -3).flatten(-2)


class FeedForward(nn.Sequential):
    def __init__(self, size: Size) -> None:
        inner = nn.Linear(size.width, size.feed_forward, bias=False)
        outer = nn.Linear(size.feed_forward, size.width, bias=False)
        for layer in (inner, outer):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        super().__init__(inner, nn.ReLU(), Dropout(size.dropout), outer)


class EncoderLayer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(size.width, eps=1e-6) for _ in range(2))
        self.attention = Attention(size)
        self.feed_forward = FeedForward(size)
        self.dropout = Dropout(size.dropout)

    def forward(self, x: Tensor, bias: Tensor, grid: Grid) -> Tensor:
        """x [P, D], the real tokens of a grid [B, S]; bias broadcasts to [B, H, S, S]."""
        attention, normed = self.attention, self.norms[0](x)
        mixed = attention.mix(grid.spread(attention.query(normed)), *attention.keys_values(normed, grid), bias)
        x = x + self.dropout(attention.output(grid.pack(mixed)))
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of the decoder's layers so far, each [B, W, H, L, E]."""


class DecoderLayer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(size.width, eps=1e-6) for _ in range(3))
        self.attention = Attention(size)
        self.cross_attention = Attention(size)
        self.feed_forward = FeedForward(size)
        self.dropout = Dropout(size.dropout)

    def forward(self, x: Tensor, bias: Tensor, past: tuple[Tensor, Tensor] | None, memory: tuple[Tensor, Tensor],
                memory_bias: Tensor, grid: Grid | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x [B, W, L, D], or the packed [P, L, D] of a grid [B, W]; bias [H, L, past + L]; memory [B, H, S, E]: all
        beams of a user look at the same one."""
        attention, cross, normed = self.attention, self.cross_attention, self.norms[0](x)
        keys_values = attention.keys_values(normed)
        if past is not None:
            keys_values = (torch.cat([past[0], keys_values[0]], -2), torch.cat([past[1], keys_values[1]], -2))
        x = x + self.dropout(attention.output(attention.mix(attention.query(normed), *keys_values, bias)))
        query = cross.query(self.norms[1](x))
        query = grid.spread(query) if grid else query
        mixed = cross.mix(query.flatten(1, 2), *memory, memory_bias).view_as(query)
        x = x + self.dropout(cross.output(grid.pack(mixed) if grid else mixed))
        return x + self.dropout(self.feed_forward(self.norms[2](x))), keys_values


class Memory(NamedTuple):
    """What the decoder sees of B users: cross-attention keys and values of every layer, and 0 or -inf for padding."""

    keys_values: list[tuple[Tensor, Tensor]]
    bias: Tensor
    """[B, 1 or H, 1 or queries, S]"""

    def rows(self, chosen: slice) -> "Memory":
        return Memory([(key[chosen], value[chosen]) for key, value in self.keys_values], self.bias[chosen])


class Transformer(nn.Module):
    """Reads the codes of a history, gives the distribution of the next item's codes, one after the other."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.sizes: list[int] = []
        self.codes = nn.Parameter(torch.empty(0, size.width))
        self.starts = nn.Parameter(torch.randn(2, size.width))
        """What stands before a history (in the place of the paper's user token), and before an answer."""
        self.encoder_bias, self.decoder_bias = RelativeBias(size, True), RelativeBias(size, False)
        self.recency = RelativeBias(size, False)
        """Of memory tokens before the end of the history, where the encoder is causal: its states cannot know how far
        away that is, and T5's decoder does not say."""
        self.encoder = nn.ModuleList(EncoderLayer(size) for _ in range(size.layers))
        self.decoder = nn.ModuleList(DecoderLayer(size) for _ in range(size.layers))
        self.norms = nn.ModuleList(nn.RMSNorm(size.width, eps=1e-6) for _ in range(2))
        self.dropout = Dropout(size.dropout)

    def set_vocabulary(self, sizes: list[int]) -> None:
        """New vectors for `sizes[t]` codes at position t of an item."""
        self.sizes = sizes
        self.codes = nn.Parameter(torch.randn(sum(sizes), self.size.width, device=self.starts.device))

    def tokens(self, codes: Tensor) -> Tensor:
        """Rows of the table of codes int64 [..., T], their positions in the last dimension."""
        first = torch.tensor([0, *self.sizes[:-1]], device=codes.device).cumsum(0)
        return codes + first[:codes.shape[-1]]

    def encode(self, tokens: Tensor, lengths: Tensor, causal: int = 0) -> Memory:
        """tokens int64 [B, S] (rows of the table), of which the first `lengths` [B] of each row are real.

        `causal` = T: the tokens of an item see those of their own item and of earlier ones, not what came later.
        """
        x = F.embedding(tokens, self.codes)
        x = torch.cat([self.starts[0].expand(len(x), 1, -1), x], 1)  # [B, 1 + S, D]
        place = torch.arange(x.shape[1], device=x.device)
        real = place <= lengths[:, None]
        bias = torch.zeros(real.shape, device=x.device).masked_fill(~real, -torch.inf)[:, None, None]
        within = self.encoder_bias(len(place), len(place))
        if causal:
            item = (place + causal - 1) // causal  # the start token is item 0
            within = within.masked_fill(item > item[:, None], -torch.inf)  # rows never see padding: it comes later
            bias = bias + self.recency_bias(lengths[:, None], len(place))
        else:
            within = within + bias
        grid = Grid(real)
        x = self.dropout(grid.pack(x))
        for layer in self.encoder:
            x = layer(x, within, grid)
        x = self.dropout(self.norms[0](x))
        return Memory([layer.cross_attention.keys_values(x, grid) for layer in cast(list[DecoderLayer], self.decoder)],
                      bias)

    def recency_bias(self, ends: Tensor, keys: int) -> Tensor:
        """For histories that end at token `ends` int64 [..., L], the start token being 0: [..., H, L, keys]."""
        return self.recency.of(torch.arange(keys, device=ends.device) - ends[..., None])

    def decode(self, tokens: Tensor | None, memory: Memory, past: Cache | None = None, grid: Grid | None = None
               ) -> tuple[Tensor, Cache]:
        """States [B, W, L, D] after `tokens` int64 [B, W, L]; None is the start of an answer, one beam a user. With a
        grid [B, W], tokens [P, L] and states [P, L, D] are of its real beams.

        Without `past`, the start stands before the tokens; with it, they follow what is cached. None sees later ones.
        """
        x = self.starts[1].expand(len(memory.bias), 1, 1, -1) if tokens is None else F.embedding(tokens, self.codes)
        if past is None and tokens is not None:
            x = torch.cat([self.starts[1].expand(*x.shape[:-2], 1, -1), x], -2)
        x = self.dropout(x)
        length = x.shape[-2]
        keys = length + (past[0][0].shape[-2] if past else 0)
        place = torch.arange(keys, device=x.device)
        bias = self.decoder_bias(length, keys).masked_fill(place > place[keys - length:, None], -torch.inf)
        cache: Cache = []
        for number, layer in enumerate(self.decoder):
            x, keys_values = layer(x, bias, past[number] if past else None, memory.keys_values[number], memory.bias,
                                   grid)
            cache.append(keys_values)
        return self.dropout(self.norms[1](x)), cache

    def logits(self, states: Tensor, position: int) -> Tensor:
        """Of the codes at `position` of an item: [..., D] -> float32 [..., sizes[position]]."""
        first = sum(self.sizes[:position])
        codes = self.codes[first:first + self.sizes[position]]
        return (states * self.size.width**-0.5 @ codes.T.to(states.dtype)).float()
