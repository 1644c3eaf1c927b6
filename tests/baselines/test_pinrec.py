import math
from typing import Any

import pytest
import torch
from cpbench.baselines.pinrec import DAY, PinRec, PinRecConfig

from cpbench.data.protocol import Protocol, split
from cpbench.models.base import Facts, Histories, Sequences
from cpbench.training.loop import seed_everything
from tests.baselines.test_sasrec import norm
from tests.random_data import ragged

NEW_YEAR = 1_767_225_600  # Thursday, 2026-01-01, 00:00 UTC


def build(**config: Any) -> PinRec:
    seed_everything(1, 0)
    model = PinRec(PinRecConfig(**{"width": 8, "heads": 1, "length": 6, "dropout": 0.0, "frequencies": 3, **config}),
                   Facts(20, {}))
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms start at 0 and 1: make them matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def time_slowly(model: PinRec, times: list[int], place: int) -> torch.Tensor:
    angles = [2 * math.pi * math.fmod(times[place], period) / period for period in (DAY, 7 * DAY, 365.25 * DAY)]
    features = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    gap = times[place] - times[place - 1] if place else 0
    for period, phase in zip((60, math.sqrt(60 * 365 * DAY), 365 * DAY), model.times.phase.tolist(), strict=True):
        features.append(math.sin(2 * math.pi * math.fmod(gap, period) / period + phase))
    return model.times.project(torch.tensor(features))


def hidden_slowly(model: PinRec, items: list[int], times: list[int]) -> list[torch.Tensor]:
    """One position and one key at a time (one head)."""
    width, length = model.config.width, len(items)
    x = []
    for place, item in enumerate(items):
        vector = model.items.weight[item]
        x.append(vector / vector.norm() * math.sqrt(width) + time_slowly(model, times, place)
                 + model.positions.weight[model.config.length - length + place])
    for block in model.blocks:
        parts = [block.attention.query_key_value(norm(row, block.attention_norm)).chunk(3) for row in x]
        after = []
        for q in range(length):
            weights = torch.softmax(torch.stack([parts[q][0] @ parts[j][1] / math.sqrt(width)
                                                 for j in range(q + 1)]), 0)
            after.append(x[q] + block.attention.output(sum(weight * parts[j][2] for j, weight in enumerate(weights))))
        x = [row + block.feed_forward(row) for row in after]
    heads = [model.head(norm(row, model.norm)) for row in x]
    return [head / head.norm() for head in heads]


@torch.no_grad()
def test_the_model_equals_its_description_position_by_position() -> None:
    model = build()
    rows = [([3, 1, 4], [NEW_YEAR, NEW_YEAR + 5, NEW_YEAR + 3 * DAY + 11]),
            ([1, 5, 9, 2, 6, 5], [NEW_YEAR + 1000 * step**3 for step in range(6)])]
    fast = model.hidden(Histories.of_lists([items for items, _ in rows], [times for _, times in rows]).padded(6))
    for b, (items, times) in enumerate(rows):
        for q, slow in enumerate(hidden_slowly(model, items, times)):
            torch.testing.assert_close(fast[b, q], slow, rtol=1e-3, atol=1e-4)


def test_the_loss_corrects_for_how_often_a_negative_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    data = split(ragged(30), Protocol())
    seed_everything(1, 0)
    model = PinRec(PinRecConfig(width=8, length=6, dropout=0.0, negatives=4), Facts.of(data.dataset))
    model.begin_training(data)
    drawn = iter([torch.tensor([2, 1]), torch.tensor([5, 7])])  # places of the batch's targets, ids of the catalogue
    monkeypatch.setattr(torch, "randint", lambda *_, **__: next(drawn))
    batch = Histories.of_lists([[3, 1, 4], [6, 8]]).padded(6)
    loss, parts = model.training_loss(Sequences(batch.items, batch.times, batch.lengths))
    negatives = [5, 7, 8, 4]  # uniform ones first, then the third and second of the targets 1, 4, 8
    share = data.train_counts / data.train_counts.sum()
    n_items = model.facts.n_items
    with torch.no_grad():
        vectors, total = model.item_matrix(), 0.0
        queries = model.hidden(Sequences(batch.items[:, :-1], batch.times[:, :-1], batch.lengths - 1))
        for query, target in ((queries[0, 0], 1), (queries[0, 1], 4), (queries[1, 0], 8)):
            scale = math.exp(model.log_scale.item())
            own = scale * float(query @ vectors[target])
            others = [scale * float(query @ vectors[item]) - math.log(2 / n_items + 2 * share[item])
                      for item in negatives if item != target]
            total -= own - math.log(sum(math.exp(logit) for logit in [own, *others]))
    assert loss.item() == pytest.approx(total / 3, rel=1e-4)
    assert parts["scale"] == pytest.approx(20.0)


def test_times_count_to_the_second() -> None:
    """In float32 two requests of one day would have the same seconds since 1970."""
    model = build()
    morning, evening = ([[1, 2]], [[NEW_YEAR, NEW_YEAR + 60]]), ([[1, 2]], [[NEW_YEAR + 60, NEW_YEAR + 120]])
    with torch.no_grad():
        assert not torch.allclose(model.score(Histories.of_lists(*morning)), model.score(Histories.of_lists(*evening)),
                                  atol=1e-6)
    assert model.information == ["times"]
