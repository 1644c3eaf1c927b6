import math

import pytest
import torch
from cpbench.baselines.tiger.transformer import Size, Transformer, relative_buckets

from cpbench.models.layers import Grid
from tests.baselines.tiger.small import built
from tests.baselines.tiger.test_beam import logits_slowly
from tests.random_data import ragged


def bucket_slowly(distance: int, both_ways: bool) -> int:
    """T5, appendix and section 2.1, one distance at a time: key position minus query position."""
    buckets, result = 32, 0
    if both_ways:
        buckets = 16
        if distance > 0:
            result = 16
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return result + distance
    share = math.log(distance / exact) / math.log(128 / exact)
    return result + min(exact + int(share * (buckets - exact)), buckets - 1)


@pytest.mark.parametrize("both_ways", [True, False])
def test_relative_buckets_are_those_of_t5(both_ways: bool) -> None:
    # at 16, 32, 64 the logarithm is a whole number, and float32 may fall on either side of it
    distances = [distance for distance in range(-200, 201) if abs(distance) not in (16, 32, 64)]
    found = relative_buckets(torch.tensor(distances), both_ways).tolist()
    assert found == [bucket_slowly(distance, both_ways) for distance in distances]


def network() -> Transformer:
    torch.manual_seed(3)
    made = Transformer(Size(width=8, heads=2, head_width=6, feed_forward=16, layers=2, dropout=0.0))
    made.set_vocabulary([4, 5, 6])
    return made.eval()


@torch.no_grad()
def test_cached_decoding_equals_decoding_anew() -> None:
    made = network()
    memory = made.encode(torch.randint(15, (3, 9)), torch.tensor([9, 3, 6]))
    tokens = torch.randint(15, (3, 4, 3))  # four beams
    anew, _ = made.decode(tokens, memory)  # the start and three tokens
    states, cache = made.decode(None, memory)
    torch.testing.assert_close(states[:, 0], anew[:, 0, :1])
    cache = [(key.expand(-1, 4, -1, -1, -1), value.expand(-1, 4, -1, -1, -1)) for key, value in cache]
    for place in range(3):
        states, cache = made.decode(tokens[:, :, place:place + 1], memory, cache)
        torch.testing.assert_close(states[:, :, 0], anew[:, :, place + 1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_padding_and_neighbours_change_nothing() -> None:
    made = network()
    tokens, answer = torch.randint(15, (3, 9)), torch.randint(15, (3, 1, 2))
    together, _ = made.decode(answer, made.encode(tokens, torch.tensor([9, 3, 6])))
    alone, _ = made.decode(answer[1:2], made.encode(tokens[1:2, :3], torch.tensor([3])))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_real_beams_alone_are_decoded_as_among_padding() -> None:
    made = network()
    memory, tokens = made.encode(torch.randint(15, (3, 9)), torch.tensor([9, 3, 6])), torch.randint(15, (3, 4, 2))
    real = torch.arange(4) < torch.tensor([[2], [4], [1]])
    found, _ = made.decode(tokens[real], memory, grid=Grid(real))
    torch.testing.assert_close(found, made.decode(tokens, memory)[0][real], rtol=1e-4, atol=1e-5)


def attention_slowly(x: torch.Tensor, keys: torch.Tensor, layer: torch.nn.Module, bias: torch.Tensor) -> torch.Tensor:
    """One query and one head at a time: x [L, D], keys [M, D], bias [H, L, M] -> [L, D]."""
    heads, inner = layer.heads, layer.query.out_features
    width = inner // heads
    query, (key, value) = layer.query(x), layer.key_value(keys).split(inner, dim=-1)
    rows = []
    for place in range(len(x)):
        parts = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            logits = torch.stack([query[place, part] @ key[j, part] / math.sqrt(width) + bias[head, place, j]
                                  for j in range(len(keys))])
            weights = logits.exp() / logits.exp().sum()
            parts.append(sum(weight * value[j, part] for j, weight in enumerate(weights)))
        rows.append(layer.output(torch.cat(parts)))
    return torch.stack(rows)


def norm_slowly(x: torch.Tensor, layer: torch.nn.RMSNorm) -> torch.Tensor:
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + layer.eps) * layer.weight


@torch.no_grad()
def test_the_network_equals_t5_position_by_position() -> None:
    made = network()
    for parameter in made.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    history, answer = [3, 7, 12, 0, 5, 10], [2, 6]
    states, _ = made.decode(torch.tensor([[answer]]), made.encode(torch.tensor([history]), torch.tensor([6])))

    def biases(weight: torch.Tensor, length: int, both_ways: bool) -> torch.Tensor:
        rows = [[weight[bucket_slowly(key - query, both_ways)] if both_ways or key <= query
                 else torch.full((2,), -math.inf) for key in range(length)] for query in range(length)]
        return torch.stack([torch.stack(row) for row in rows]).permute(2, 0, 1)

    x = torch.stack([made.starts[0], *made.codes[history]])
    for layer in made.encoder:
        normed = norm_slowly(x, layer.norms[0])
        x = x + attention_slowly(normed, normed, layer.attention, biases(made.encoder_bias.weight, 7, True))
        x = x + layer.feed_forward[3](layer.feed_forward[0](norm_slowly(x, layer.norms[1])).clamp(min=0))
    memory = norm_slowly(x, made.norms[0])
    x = torch.stack([made.starts[1], *made.codes[answer]])
    for layer in made.decoder:
        normed = norm_slowly(x, layer.norms[0])
        x = x + attention_slowly(normed, normed, layer.attention, biases(made.decoder_bias.weight, 3, False))
        x = x + attention_slowly(norm_slowly(x, layer.norms[1]), memory, layer.cross_attention, torch.zeros(2, 3, 7))
        x = x + layer.feed_forward[3](layer.feed_forward[0](norm_slowly(x, layer.norms[2])).clamp(min=0))
    torch.testing.assert_close(states[0, 0], norm_slowly(x, made.norms[1]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_the_loss_is_that_of_every_prefix_alone(causal: bool, existing: bool) -> None:
    """One pass of a causal encoder and prefixes padded in chunks, against one prefix at a time."""
    model = built(ragged(12, n_items=30), causal=causal, prefixes=0, existing=existing)
    data = torch.randint(30, (3, 7))
    lengths = torch.tensor([7, 2, 5])
    from cpbench.models.base import Sequences

    found, _ = model.training_loss(Sequences(data, data * 0, lengths))
    terms = []
    for row, length in zip(data, lengths.tolist(), strict=True):
        for end in range(1, length):
            memory = model._read(row[None, :end], torch.tensor([end]))
            target = model.codes[row[end]]
            states, _ = model.network.decode(model.network.tokens(target[:-1])[None, None], memory)
            terms.append(-sum(torch.log_softmax(logits_slowly(model, states[0, 0, place], target[:place].tolist()),
                                                -1)[code] for place, code in enumerate(target)))
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_step_in_bfloat16(causal: bool) -> None:
    """Emulated where there are no instructions for it: slow, but the same path."""
    from cpbench.models.base import Sequences

    model, data = built(ragged(12, n_items=30), causal=causal, prefixes=0), torch.randint(30, (3, 7))
    batch = Sequences(data, data * 0, torch.tensor([7, 2, 5]))
    plain, _ = model.training_loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        lowered, _ = model.training_loss(batch)
    lowered.backward()
    torch.testing.assert_close(lowered, plain, rtol=0.02, atol=0)
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@torch.no_grad()
def test_a_causal_memory_says_how_far_the_end_is() -> None:
    """Its states cannot know: what an early item looks like does not change with what follows."""
    made = built(ragged(12, n_items=30), causal=True).network
    tokens = made.tokens(torch.zeros(2, 6, len(made.sizes), dtype=torch.int64)).flatten(1)
    length = len(made.sizes)
    bias = made.encode(tokens, torch.tensor([6 * length, 2 * length]), causal=length).bias  # [B, H, 1, 1 + S]
    assert bias.shape == (2, made.size.heads, 1, 1 + 6 * length)
    assert torch.equal(bias[0, :, 0, -2 * length:], bias[1, :, 0, 1:1 + 2 * length])  # as seen from the end
    assert not torch.equal(bias[0, :, 0, :2 * length], bias[1, :, 0, :2 * length])
    assert torch.isneginf(bias[1, :, 0, 1 + 2 * length:]).all() and torch.isfinite(bias[0]).all()
