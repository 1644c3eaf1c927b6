"""Climber-Pilot's transformer layer (Fig. 1a) and its relative attention bias (after Climber, Eq. 3).

    x <- x + attention(RMSNorm(x));  x <- x + feed_forward(RMSNorm(x))        no norm after the last layer
"""

import math

import torch
from torch import Tensor, nn

from cpbench.models.layers import Dropout, attend, merge_heads, split_heads


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

    def forward(self, x: Tensor, bias: Tensor, blind: Tensor | None) -> Tensor:
        """[B, L, D] -> [B, L, D]; bias [B, H, L, L] is relative bias and mask; blind [B, L] rows attend to nothing."""
        query, key, value = (split_heads(part, self.heads)
                             for part in self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1))
        x = x + self.dropout(self.output(merge_heads(attend(query, key, value, bias, blind))))
        return x + self.feed_forward(self.feed_forward_norm(x))


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
        distance = (position[:, None] - position).clamp(min=0)
        gap = (times[:, :, None] - times[:, None, :]).clamp(min=0)
        by_time = torch.log2(gap.float() + 1.0).long().clamp(max=self.TIME_BUCKETS - 1)
        return (self.position(self.bucket[distance]) + self.time(by_time)).permute(0, 3, 1, 2)
