import math

import pytest
import torch

from cpbench.models.layers import Dropout, Grid, SelfAttention, TakeColumns, attend, merge_heads, split_heads


def test_dropout_keeps_the_expectation_and_the_rate() -> None:
    dropout = Dropout(0.3).train()
    x = torch.ones(400, 501)
    y = dropout(x)
    kept = 1 - round(0.3 * 256) / 256
    assert (y == 0).float().mean().item() == pytest.approx(1 - kept, abs=0.01)
    assert y[y > 0].unique().tolist() == pytest.approx([1 / kept])
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)


def test_dropout_does_nothing_in_evaluation_or_at_rate_zero() -> None:
    x = torch.randn(5, 7)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_the_highest_rate_keeps_one_in_256() -> None:
    y = Dropout(0.999).train()(torch.ones(100, 256))
    assert y.isfinite().all() and set(y.unique().tolist()) <= {0.0, 256.0}


def test_dropout_follows_the_seed() -> None:
    dropout, x = Dropout(0.5).train(), torch.ones(3, 11)
    torch.manual_seed(1)
    first = dropout(x)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(x))
    assert not torch.equal(first, dropout(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_byte_below_the_rate_drops_its_element(dtype: torch.dtype) -> None:
    x = torch.randn(3, 11).to(dtype)
    torch.manual_seed(1)
    found = Dropout(0.3).train()(x)
    torch.manual_seed(1)
    drawn = torch.empty(5, dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)[:33].view(3, 11)
    scale = torch.tensor(256 / (256 - 77), dtype=dtype)
    assert torch.equal(found, torch.where(drawn < 77, torch.zeros_like(x), x * scale))


def test_heads_split_and_merge() -> None:
    x = torch.randn(2, 5, 12)
    assert split_heads(x, 3).shape == (2, 3, 5, 4)
    assert torch.equal(merge_heads(split_heads(x, 3)), x)


def attend_slowly(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                  bias: torch.Tensor | None) -> torch.Tensor:
    """Row by row, key by key; a row that sees no key gives zeros."""
    users, heads, length, width = query.shape
    out = torch.zeros_like(query)
    for b in range(users):
        for h in range(heads):
            for q in range(length):
                logits = {}
                for j in range(length):
                    extra = float(bias[b, h, q, j]) if bias is not None else (0.0 if j <= q else -math.inf)
                    if extra > -math.inf:
                        logits[j] = float(query[b, h, q] @ key[b, h, j]) / math.sqrt(width) + extra
                if logits:
                    top = max(logits.values())
                    weights = {j: math.exp(x - top) for j, x in logits.items()}
                    out[b, h, q] = sum(w * value[b, h, j] for j, w in weights.items()) / sum(weights.values())
    return out


def test_attention_equals_a_loop_causal_and_with_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, 6, 4, generator=generator) for _ in range(3))
    torch.testing.assert_close(attend(query, key, value), attend_slowly(query, key, value, None), rtol=1e-4, atol=1e-5)
    bias = torch.randn(2, 2, 6, 6, generator=generator)
    bias[:, :, torch.rand(6, 6, generator=generator) < 0.4] = -torch.inf
    bias[0, :, 2] = -torch.inf  # a blind row
    blind = torch.isinf(bias).all(-1).any(1)
    finite = bias.masked_fill(blind[:, None, :, None], 0.0)
    torch.testing.assert_close(attend(query, key, value, finite, blind), attend_slowly(query, key, value, bias),
                               rtol=1e-4, atol=1e-5)


def test_blind_rows_give_zeros_and_finite_gradients() -> None:
    query = torch.randn(1, 1, 3, 4, requires_grad=True)
    bias = torch.zeros(1, 1, 3, 3)
    blind = torch.tensor([[True, False, True]])
    out = attend(query, query, query, bias, blind)
    out.sum().backward()
    assert out[0, 0, 0].abs().sum() == 0
    assert out[0, 0, 2].abs().sum() == 0
    assert query.grad is not None
    assert torch.isfinite(query.grad).all()


def test_attention_in_bfloat16_is_close() -> None:
    query, key, value = (torch.randn(2, 2, 8, 4) for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        low = attend(query.bfloat16(), key.bfloat16(), value.bfloat16())
    torch.testing.assert_close(low.float(), attend(query, key, value), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no GPU"))])
def test_gradient_of_a_small_table_read_often(device: str) -> None:
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(2, 9, generator=generator).to(device).requires_grad_()
    index = torch.randint(7, (5, 40, 40), generator=generator).to(device)  # the last two are never read
    weights = torch.randn(2, 5, 40, 40, generator=generator).to(device)
    taken = TakeColumns.apply(table, index)
    assert torch.equal(taken, table[:, index])
    found, = torch.autograd.grad(taken, table, weights)
    expected, = torch.autograd.grad(table[:, index], table, weights)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found, torch.autograd.grad(TakeColumns.apply(table, index), table, weights)[0])


def test_a_grid_packs_and_spreads() -> None:
    real = torch.tensor([[True, False, True], [False, False, False]])
    grid, x = Grid(real), torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(grid.pack(x), x[real])
    assert torch.equal(grid.spread(x[real]), x * real[..., None])
    assert torch.autograd.gradcheck(lambda x: grid.spread(grid.pack(x).sin()), x)


def test_attention_among_real_cells_alone_is_that_among_padding() -> None:
    attention, x, lengths = SelfAttention(8, 2), torch.randn(3, 5, 8), torch.tensor([5, 2, 0])
    real = torch.arange(5) < lengths[:, None]
    packed = attention(x[real], grid=Grid(real))
    torch.testing.assert_close(packed, attention(x)[real])
