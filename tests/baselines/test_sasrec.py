import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from cpbench.baselines.sasrec import SASRec, SASRecConfig
from pydantic import ValidationError

from cpbench.data.protocol import Protocol, split
from cpbench.models.base import Facts, Histories, Sequences
from cpbench.training.loop import seed_everything
from tests.random_data import ragged


def build(**config: Any) -> SASRec:
    seed_everything(1, 0)
    return SASRec(SASRecConfig(**{"width": 8, "length": 6, "dropout": 0.0, **config}), Facts(20, {}))


def norm(x: torch.Tensor, layer: torch.nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + layer.eps) * layer.weight + layer.bias


def hidden_slowly(model: SASRec, items: list[int]) -> list[torch.Tensor]:
    """The paper, one position and one key at a time (one head)."""
    width, length = model.config.width, len(items)
    x = [model.items.weight[item] * math.sqrt(width) + model.positions.weight[model.config.length - length + place]
         for place, item in enumerate(items)]
    for block in model.blocks:
        queries = [norm(row, block.attention_norm) for row in x]
        keys, values = zip(*(block.key_value(row).chunk(2) for row in x), strict=True)
        mixed = []
        for q in range(length):
            logits = torch.stack([block.query(queries[q]) @ keys[j] / math.sqrt(width) for j in range(q + 1)])
            weights = torch.exp(logits) / torch.exp(logits).sum()
            mixed.append(sum(weight * values[j] for j, weight in enumerate(weights)))
        after = [norm(queries[q] + block.output(mixed[q]), block.feed_forward_norm) for q in range(length)]
        x = [row + block.feed_forward(row) for row in after]
    return [norm(row, model.norm) for row in x]


def sequences(rows: list[list[int]]) -> Sequences:
    return Histories.of_lists(rows).padded(50)


@torch.no_grad()
def test_the_model_equals_the_paper_position_by_position() -> None:
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms start at 0 and 1: make them matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    rows = [[3, 1, 4], [1, 5, 9, 2, 6, 5]]
    fast = model.hidden(sequences(rows))
    for b, row in enumerate(rows):
        for q, slow in enumerate(hidden_slowly(model, row)):
            torch.testing.assert_close(fast[b, q], slow, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_long_history_is_its_most_recent_part() -> None:
    model = build().eval()
    long, short = Histories.of_lists([list(range(15))]), Histories.of_lists([list(range(9, 15))])
    torch.testing.assert_close(model.score(long), model.score(short))


def test_every_loss_is_what_it_says() -> None:
    batch = sequences([[3, 1, 4, 7], [1, 5]])
    pairs = [(0, 0, 1), (0, 1, 4), (0, 2, 7), (1, 0, 5)]
    for loss, extra in (("softmax", {}), ("sampled-softmax", {"negatives": 9}), ("bce", {}),
                        ("gbce", {"negatives": 5, "gbce_t": 0.5})):
        model = build(loss=loss, **extra)
        torch.manual_seed(7)
        found, _ = model.training_loss(batch)
        inputs = Sequences(batch.items[:, :-1], batch.times[:, :-1], batch.lengths - 1)
        logits = model.hidden(inputs) @ model.items.weight.T
        torch.manual_seed(7)
        terms = []
        if loss == "softmax":
            terms = [torch.logsumexp(logits[b, q], 0) - logits[b, q, target] for b, q, target in pairs]
        elif loss == "sampled-softmax":
            negatives = torch.randint(20, (9,))
            for b, q, target in pairs:
                kept = logits[b, q, negatives[negatives != target]]
                terms.append(torch.logsumexp(torch.cat([kept, logits[b, q, target, None]]), 0) - logits[b, q, target])
        else:
            count = extra.get("negatives", 1)
            negatives = torch.randint(20, (4 * count,)).view(4, count)
            alpha = count / 19
            beta = alpha * (0.5 * (1 - 1 / alpha) + 1 / alpha) if loss == "gbce" else 1.0
            for (b, q, target), drawn in zip(pairs, negatives, strict=True):
                terms.append(-beta * torch.log(torch.sigmoid(logits[b, q, target]))
                             - torch.log(1 - torch.sigmoid(logits[b, q, drawn])).sum())
        torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_request_time_enters_the_input_of_its_row_only() -> None:
    plain, model = build().eval(), build(request_time=True).eval()
    assert set(model.state_dict()) - set(plain.state_dict()) == {"gaps.weight"}
    assert model.information == ["times", "request time"] and plain.information == []
    batch = replace(Histories.of_lists([[3, 1, 4], [1, 5]], [[0, 10, 90_010], [7, 7]]),
                    request_times=torch.tensor([90_020, 1_000_007])).padded(50)
    gaps = [[10, 90_000, 10], [0, 1_000_000]]  # seconds from each interaction to the next, the last to the request
    bucket = [[int(math.log(max(gap, 1)) / 0.301) for gap in row] for row in gaps]
    assert bucket == [[7, 37, 7], [0, 45]]
    model.load_state_dict(plain.state_dict() | {"gaps.weight": torch.zeros(129, 8)})
    torch.testing.assert_close(model.hidden(batch), plain.hidden(batch), rtol=0, atol=0)
    model.gaps.weight[37] += torch.randn(8)
    changed = (model.hidden(batch) != plain.hidden(batch)).any(2)
    assert changed.tolist() == [[False, True, True], [False, False, False]]


def test_an_empty_history_gets_popularity() -> None:
    data = split(ragged(30), Protocol())
    model = build()
    model.begin_training(data)
    scores = model.score(Histories.of_lists([[], [1, 2]]))
    assert scores[0].tolist() == data.train_counts.tolist()
    assert scores[1].tolist() != data.train_counts.tolist()


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width 8 is not a multiple of heads 3"):
        build(heads=3)
    with pytest.raises(ValidationError, match="loss"):
        SASRecConfig(loss="hinge")  # type: ignore[arg-type]
