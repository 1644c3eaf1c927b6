"""Building blocks that every model may use. Shapes: B users, L positions, D width, H heads."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout whose mask costs one random byte an element (torch draws a float: a tenth of a small model's step).

    The rate is rounded to 1/256, at most 255/256, and the scale uses the rounded rate, so the expectation is exact.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = min(round(rate * 256), 255)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped == 0:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape).ge_(self.dropped)  # of bytes: booleans are slower
        return x * kept.to(x.dtype).mul_(256 / (256 - self.dropped))


TIME_BUCKETS = 129


def time_buckets(gap: Tensor) -> Tensor:
    """Gaps in seconds -> int32 of the same shape: floor(ln(max(1, |gap|)) / 0.301), at most 128 (HSTU's public code).

    The first bucket holds gaps below 1.35 s; one day is bucket 37, ten years are 65.
    """
    logarithm = gap.float().abs_().clamp_(min=1.0).log_()
    return logarithm.div_(0.301).clamp_(max=TIME_BUCKETS - 1).to(torch.int32)


def sums_by_index(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Gradient of a small table that was read very often: values [H, M], index [M] -> [H, size], in a fixed order.

    On a GPU torch sums in a fixed order only where one thread adds up all that fell on an entry: 2.5 million pairs of
    positions on 129 time buckets. Sorted, an entry's values are a segment, which many threads reduce.
    """
    if not values.is_cuda:
        return torch.stack([torch.bincount(index, row, size) for row in values]).to(values.dtype)
    order = torch.sort(index, stable=True).indices
    lengths = torch.bincount(index, minlength=size)
    segments = [torch.segment_reduce(row[order], "sum", lengths=lengths, unsafe=True) for row in values.float()]
    return torch.stack(segments).to(values.dtype)


class TakeColumns(torch.autograd.Function):
    """table [H, V], index [...] -> [H, ...], for a small table and many indices (`sums_by_index`)."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(index)
        ctx.size = table.shape[1]
        return table[:, index]

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        return sums_by_index(gradient.flatten(1), ctx.saved_tensors[0].flatten(), ctx.size), None


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, L, D] -> [B, H, L, D / H]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, H, L, D / H] -> [B, L, D]."""
    return x.transpose(1, 2).flatten(-2)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None,
           blind: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention over heads, [B, H, L, D / H].

    Without `bias` the mask is causal and no mask is ever built. `bias` [B or 1, H or 1, L, L] is added to the logits;
    -inf hides a key. Rows marked in `blind` [B, L] may see nothing: they give zeros, never NaN (design decision 2), and
    their bias must be finite. `dropout` acts on the weights; above 0 it costs the fused kernel.
    """
    with torch.autocast(query.device.type, enabled=False):
        if query.device.type == "cpu":  # the fused backward is 18 times slower in bfloat16 (docs/speed.md)
            query, key, value = query.float(), key.float(), value.float()
        if bias is None:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropout)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype), dropout_p=dropout)
    return out if blind is None else out.masked_fill(blind[:, None, :, None], 0.0)


class Grid:
    """The real cells of a padded batch: all but attention is computed for these alone, one below the other."""

    def __init__(self, real: Tensor) -> None:
        """real: bool [B, L], with P cells that are true."""
        self.shape, self.cells = real.shape, real.flatten().nonzero()[:, 0]

    def pack(self, x: Tensor) -> Tensor:
        """[B, L, ...] -> [P, ...]"""
        return x.flatten(0, 1).index_select(0, self.cells)

    def spread(self, x: Tensor) -> Tensor:
        """[P, ...] -> [B, L, ...], zeros in the padding."""
        empty = x.new_zeros(self.shape.numel(), *x.shape[1:])
        return empty.index_copy(0, self.cells, x).unflatten(0, self.shape)


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases and an output projection; causal unless a bias says what is seen."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """`dropout` acts on the attention weights. Raises ValueError when `heads` does not divide `width`."""
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None = None, asked: Tensor | None = None,
                grid: Grid | None = None) -> Tensor:
        """x [B, L, D] -> [B, L, D]; bias as in `attend`, also [B, 1, 1, L] to hide the same keys from every row.

        With `asked` [B, M, D] only these states, rows of `x`, look at the keys of all: -> [B, M, D]; this wants a bias.
        With a `grid` x is packed: [P, D] -> [P, D].
        """
        if asked is None:
            all_parts = self.query_key_value(x)
            parts = (grid.spread(all_parts) if grid else all_parts).chunk(3, dim=-1)
        else:
            weight, offset, width = self.query_key_value.weight, self.query_key_value.bias, x.shape[-1]
            parts = (F.linear(asked, weight[:width], offset[:width]),
                     *F.linear(x, weight[width:], offset[width:]).chunk(2, dim=-1))
        query, key, value = (split_heads(part, self.heads) for part in parts)
        mixed = attend(query, key, value, bias, dropout=self.dropout if self.training else 0.0)
        merged = merge_heads(mixed)
        projected: Tensor = self.output(grid.pack(merged) if grid else merged)
        return projected


def from_the_end(lengths: Tensor, width: int, size: int) -> Tensor:
    """Rows of a position table of `size` >= `width` entries, int64 [B, width]: the last real one is always the last.

    So positions count from the end of the sequence, as left padding would have it; padded cells hold a valid row, too.
    """
    return (torch.arange(width, device=lengths.device) - lengths[:, None]) % size
