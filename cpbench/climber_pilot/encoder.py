"""Climber-Pilot's transformer layer (Fig. 1a) and its relative attention bias (after Climber, Eq. 3).

    x <- x + attention(RMSNorm(x));  x <- x + feed_forward(RMSNorm(x))        no norm after the last layer
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpbench.models.layers import Dropout, TakeColumns, attend, merge_heads, split_heads


class Modulation(NamedTuple):
    """What a condition does to the answering rows of a layer, each [B, Q, D]; all zero changes nothing (AdaLN)."""

    attention_shift: Tensor
    attention_scale: Tensor
    attention_gate: Tensor
    feed_forward_shift: Tensor
    feed_forward_scale: Tensor
    feed_forward_gate: Tensor


class Layer(nn.Module):
    """One pre-norm layer; the encoder stacks L of them and every branch is one."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.dropout = Dropout(dropout)
        self.feed_forward_norm = nn.RMSNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward * width), nn.GELU(), Dropout(dropout),
            nn.Linear(feed_forward * width, width), Dropout(dropout),
        )

    def forward(self, x: Tensor, bias: Tensor, blind: Tensor | None, rows: Tensor | None = None,
                modulation: Modulation | None = None) -> Tensor:
        """Keys x [B, L, D] -> answers of `rows` [B, Q, D] (default: of x itself), [B, Q, D].

        bias [B, H, Q, L] is relative bias and mask; rows marked in blind [B, Q] attend to nothing.
        """
        if rows is None:
            rows = x
            query, key, value = self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1)
        else:
            of_query, of_others = self.query_key_value.weight.split([x.shape[-1], 2 * x.shape[-1]])
            key, value = F.linear(self.attention_norm(x), of_others).chunk(2, dim=-1)
            asked = self.attention_norm(rows)
            if modulation is not None:
                asked = asked * (1 + modulation.attention_scale) + modulation.attention_shift
            query = F.linear(asked, of_query)
        query, key, value = (split_heads(part, self.heads) for part in (query, key, value))
        mixed = attend(query, key, value, bias, blind)
        attended = self.dropout(self.output(merge_heads(mixed)))
        if modulation is None:
            rows = rows + attended
            return rows + self.feed_forward(self.feed_forward_norm(rows))
        rows = rows + (1 + modulation.attention_gate) * attended
        normal = self.feed_forward_norm(rows) * (1 + modulation.feed_forward_scale) + modulation.feed_forward_shift
        return rows + (1 + modulation.feed_forward_gate) * self.feed_forward(normal)


class RelativeBias(nn.Module):
    """A learned number per head for the distance and for the time between two interactions, shared by all layers.

    Distances are bucketed as in T5 (exact up to half the buckets, then logarithmic), time gaps by log2 of seconds.
    The gap is between the row's own interaction and the key's: the target's timestamp is never used.
    """

    TIME_BUCKETS = 32  # 2^31 seconds is 68 years

    def __init__(self, heads: int, length: int, position_buckets: int = 32) -> None:
        super().__init__()
        self.position = nn.Embedding(position_buckets, heads)
        self.time = nn.Embedding(self.TIME_BUCKETS, heads)
        nn.init.zeros_(self.position.weight)
        nn.init.zeros_(self.time.weight)
        distance = torch.arange(max(length, 2))
        exact = position_buckets // 2
        spread = torch.log(distance.clamp(min=1) / exact) / math.log(max(length / exact, 2.0))
        far = exact + (spread * (position_buckets - exact)).long()
        self.register_buffer("bucket", torch.where(distance < exact, distance, far.clamp(max=position_buckets - 1)),
                             persistent=False)
        self.bucket: Tensor

    def forward(self, times: Tensor) -> Tensor:
        """times int64 [B, L] -> bias float32 [B, H, L, L] (of row i and key j; cells with j > i are never used)."""
        position = torch.arange(times.shape[1], device=times.device)
        by_place = self.bucket[(position[:, None] - position).clamp(min=0)]
        gap = (times[:, :, None] - times[:, None, :]).clamp(min=0)
        by_time = torch.log2(gap.float() + 1.0).long().clamp(max=self.TIME_BUCKETS - 1)
        # one look-up in a table of all pairs: place bucket, time bucket
        pairs = (self.position.weight[:, None] + self.time.weight).flatten(0, 1).T  # [H, 32 * 32]
        taken: Tensor = TakeColumns.apply(pairs, by_place * self.TIME_BUCKETS + by_time)
        return taken.transpose(0, 1)
