import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from cpbench.baselines.hstu import HIDDEN, HSTU, Block, HSTUConfig, pointwise_attention
from torch import Tensor

from cpbench.models.base import Facts, Histories, Sequences
from cpbench.training.loop import seed_everything

N_ITEMS = 20
LISTS = [[3, 1, 4], [1, 5, 9, 2, 6, 5], [8]]
TIMES = [[0, 40, 90_040], [5, 5, 5, 3_600, 86_400, 40_000_000], [77]]
REQUESTS = [90_100, 40_000_001, 10_000_077]


def build(**config: Any) -> HSTU:
    seed_everything(1, 0)
    model = HSTU(HSTUConfig(**{"width": 8, "length": 7, "heads": 2, "query_width": 3, "value_width": 5,
                               "dropout": 0.0, **config}), Facts(N_ITEMS, {}))
    with torch.no_grad():
        for parameter in model.parameters():  # at its start attention is so small that it hardly matters
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.eval()


def histories() -> Histories:
    return replace(Histories.of_lists(LISTS, TIMES), request_times=torch.tensor(REQUESTS))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def norm(x: Tensor) -> Tensor:
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + 1e-6)


def layer_slowly(block: Block, config: HSTUConfig, x: list[Tensor], times: list[int], asked: list[int]) -> list[Tensor]:
    """One layer as the public code has it, one row, one head and one key at a time; the mask comes after SiLU."""
    heads, d_v, d_qk = config.heads, config.value_width, config.query_width
    split = [silu(norm(row) @ block.uvqk).split([heads * d_v, heads * d_v, heads * d_qk, heads * d_qk]) for row in x]
    answers = []
    for i, row in enumerate(x):
        mixed = []
        for head in range(heads):
            of_value, of_query = slice(head * d_v, (head + 1) * d_v), slice(head * d_qk, (head + 1) * d_qk)
            total = torch.zeros(d_v)
            for j in range(len(x)):
                bias = block.bias.by_distance[max(i - j, 0)]
                if config.time_bias:
                    seconds = abs((asked if config.request_time else times)[i] - times[j])
                    bias = bias + block.bias.by_time[min(int(math.log(max(seconds, 1)) / 0.301), 128)]
                weight = silu(split[i][2][of_query] @ split[j][3][of_query] + bias) / config.length
                total = total + weight * float(j <= i) * split[j][1][of_value]
            mixed.append(total)
        answers.append(row + block.output(norm(torch.cat(mixed)) * split[i][0]))
    return answers


def hidden_slowly(model: HSTU, items: list[int], times: list[int], asked: list[int]) -> list[Tensor]:
    config = model.config
    x = [model.items.weight[item] * math.sqrt(config.width) + model.positions.weight[place]
         for place, item in enumerate(items)]
    for block in model.blocks:
        assert isinstance(block, Block)
        x = layer_slowly(block, config, x, times, asked)
    return [row / row.norm() / config.temperature for row in x]


@torch.no_grad()
@pytest.mark.parametrize("extra", [{}, {"request_time": True}, {"time_bias": False, "heads": 1, "blocks": 3}],
                         ids=["own-time", "request-time", "no-time"])
def test_the_model_equals_the_public_code_row_by_row(extra: dict[str, Any]) -> None:
    model = build(**extra)
    fast = model.hidden(histories().padded(7))
    for b, (items, times) in enumerate(zip(LISTS, TIMES, strict=True)):
        for q, slow in enumerate(hidden_slowly(model, items, times, [*times[1:], REQUESTS[b]])):
            torch.testing.assert_close(fast[b, q], slow, rtol=1e-4, atol=1e-4)
    unit = model.items.weight / model.items.weight.norm(dim=1, keepdim=True)
    last = torch.tensor([len(items) - 1 for items in LISTS])
    torch.testing.assert_close(model.score(histories()), fast[torch.arange(3), last] @ unit.T)


def test_the_gradients_equal_those_of_the_slow_layer() -> None:
    model = build(request_time=True, blocks=1)
    items, times, asked = LISTS[1], TIMES[1], [*TIMES[1][1:], REQUESTS[1]]
    batch = Sequences(torch.tensor([items]), torch.tensor([times]), torch.tensor([6]), torch.tensor([REQUESTS[1]]))
    direction = torch.randn(6, 8)
    weights = list(model.parameters())
    fast = torch.autograd.grad((model.hidden(batch)[0] * direction).sum(), weights)
    slow = torch.autograd.grad((torch.stack(hidden_slowly(model, items, times, asked)) * direction).sum(), weights)
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_a_hidden_key_weighs_exactly_nothing_and_a_blind_row_keeps_its_residual() -> None:
    query, key, value = (torch.randn(1, 2, 4, 3, requires_grad=True) for _ in range(3))
    bias = torch.zeros(1, 4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), HIDDEN)
    bias[0, 2] = HIDDEN  # row 2 sees nothing
    fast = pointwise_attention(query, key, value, bias, 7)
    seen = (bias[0] == 0).float()
    slow = torch.nn.functional.silu(query @ key.transpose(-1, -2)) * seen / 7 @ value  # the paper: mask after SiLU
    torch.testing.assert_close(fast, slow)
    assert not fast[:, :, 2].any()
    gradients = torch.autograd.grad(fast[:, :, 2].sum() + fast[:, :, 0].sum(), (query, key, value))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert not gradients[0][:, :, 2].any()  # nothing reaches the blind row's query,
    assert not gradients[1][:, :, 1:].any() and not gradients[2][:, :, 1:].any()  # nor keys that nobody sees

    class Blind(torch.nn.Module):
        def forward(self, gaps: Tensor) -> Tensor:
            return torch.full(gaps.shape, HIDDEN)

    block = build().blocks[0]
    assert isinstance(block, Block)
    block.bias = Blind()  # type: ignore[assignment]
    x = torch.randn(1, 4, 8)
    torch.testing.assert_close(block(x, torch.zeros(1, 4, 4, dtype=torch.int32)), x + block.output.bias)


@torch.no_grad()
def test_a_row_sees_the_time_of_its_own_request_and_no_other() -> None:
    items, times = torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([[0, 50, 4_000, 90_000, 95_000]])
    for request_time in (True, False):
        model = build(request_time=request_time)
        before = model.hidden(Sequences(items, times, torch.tensor([5])).inputs())[0]
        for place in range(1, 5):
            later = times.clone()
            later[:, place:] += 3_000_000
            after = model.hidden(Sequences(items, later, torch.tensor([5])).inputs())[0]
            changed = (before - after).abs().amax(1) > 1e-5
            first = place - 1 if request_time else place  # the first row that may notice
            assert changed.tolist() == [row >= first for row in range(4)]


@torch.no_grad()
def test_serving_asks_what_training_asked() -> None:
    """Row q of a training sequence is the answer to the history before its target, asked at the target's time."""
    model = build(request_time=True)
    items, times = LISTS[1], TIMES[1]
    rows = model.hidden(Sequences(torch.tensor([items]), torch.tensor([times]), torch.tensor([6])).inputs())[0]
    for q in range(5):
        history = replace(Histories.of_lists([items[:q + 1]], [times[:q + 1]]),
                          request_times=torch.tensor([times[q + 1]]))
        torch.testing.assert_close(model.score(history)[0], rows[q] @ model.item_matrix().T)


@torch.no_grad()
def test_without_a_request_time_the_request_comes_with_the_last_interaction() -> None:
    model = build(request_time=True)
    unknown = replace(histories(), request_times=None)
    at_once = replace(histories(), request_times=torch.tensor([row[-1] for row in TIMES]))
    torch.testing.assert_close(model.score(unknown), model.score(at_once))
    assert not torch.allclose(model.score(unknown), model.score(histories()))


@torch.no_grad()
def test_a_long_history_is_its_most_recent_part() -> None:
    model = build()
    long, short = Histories.of_lists([list(range(15))]), Histories.of_lists([list(range(8, 15))])
    torch.testing.assert_close(model.score(long), model.score(short))


@pytest.mark.parametrize(("extra", "drawn"), [({"loss": "softmax"}, 0), ({"negatives": 5}, (4, 5)),
                                              ({"negatives": 9, "shared_negatives": True}, (9,))])
def test_every_loss_is_what_it_says(extra: dict[str, Any], drawn: Any) -> None:
    model = build(**extra)
    batch = Histories.of_lists([[3, 1, 4, 7], [1, 5]]).padded(50)
    pairs = [(0, 0, 1), (0, 1, 4), (0, 2, 7), (1, 0, 5)]
    torch.manual_seed(7)
    found, _ = model.training_loss(batch)
    torch.manual_seed(7)
    logits = model.hidden(batch.inputs()) @ model.item_matrix().T
    negatives = torch.randint(N_ITEMS, (math.prod(drawn),)).view(drawn) if drawn else torch.arange(N_ITEMS)
    negatives = negatives.expand(4, -1)
    terms = []
    for (b, q, target), own in zip(pairs, negatives, strict=True):
        kept = logits[b, q, own[own != target]]
        terms.append(torch.logsumexp(torch.cat([kept, logits[b, q, target, None]]), 0) - logits[b, q, target])
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-4, atol=1e-4)


def test_in_bfloat16_the_loss_is_close_and_its_gradients_finite() -> None:
    model = build(loss="softmax")
    batch = Histories.of_lists(LISTS[:2], TIMES[:2]).padded(50)
    with torch.autocast("cpu", torch.bfloat16):
        low, _ = model.training_loss(batch)
    low.backward()
    assert low.item() == pytest.approx(model.training_loss(batch)[0].item(), rel=0.05)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_what_a_model_sees_is_what_its_settings_say() -> None:
    assert build().information == ["times"]
    assert build(request_time=True).information == ["times", "request time"]
    assert build(time_bias=False).information == []
    with pytest.raises(ValueError, match="request_time = true needs time_bias = true"):
        build(time_bias=False, request_time=True)
