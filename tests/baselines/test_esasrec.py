import math
from typing import Any

import torch
from cpbench.baselines.esasrec import ESASRec, ESASRecConfig

from cpbench.models.base import Facts, Histories
from cpbench.training.loop import seed_everything


def build(**config: Any) -> ESASRec:
    seed_everything(1, 0)
    model = ESASRec(ESASRecConfig(**{"width": 8, "length": 6, "blocks": 2, **config}), Facts(20, {})).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms start at 0 and 1: make them matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def norm(x: torch.Tensor, layer: torch.nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + layer.eps) * layer.weight + layer.bias


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-x))


def hidden_slowly(model: ESASRec, items: list[int]) -> list[torch.Tensor]:
    """LiGR blocks, one position and one key at a time (one head)."""
    width, length = model.config.width, len(items)
    x = [model.items.weight[item] + model.positions.weight[model.config.length - length + place]
         for place, item in enumerate(items)]
    for block in model.blocks:
        parts = [block.attention.query_key_value(norm(row, block.attention_norm)).chunk(3) for row in x]
        after = []
        for q in range(length):
            logits = torch.stack([parts[q][0] @ parts[j][1] / math.sqrt(width) for j in range(q + 1)])
            weights = torch.exp(logits) / torch.exp(logits).sum()
            attended = block.attention.output(sum(weight * parts[j][2] for j, weight in enumerate(weights)))
            row = x[q] + sigmoid(block.attention_gate(x[q])) * attended
            gate, value = (block.feed_forward.gate_and_value.weight @ norm(row, block.feed_forward_norm)).chunk(2)
            inner = block.feed_forward.output.weight @ (gate * sigmoid(gate) * value)
            after.append(row + sigmoid(block.feed_forward_gate(row)) * inner)
        x = after
    return x


@torch.no_grad()
def test_the_model_equals_its_blocks_by_hand() -> None:
    model = build()
    rows = [[3, 1, 4], [1, 5, 9, 2, 6, 5]]
    fast = model.hidden(Histories.of_lists(rows).padded(6))
    for b, row in enumerate(rows):
        for q, slow in enumerate(hidden_slowly(model, row)):
            torch.testing.assert_close(fast[b, q], slow, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_closed_gate_leaves_the_input_alone() -> None:
    model = build(blocks=1)
    block, batch = model.blocks[0], Histories.of_lists([[3, 1, 4]]).padded(6)
    for gate in (block.attention_gate, block.feed_forward_gate):
        gate.weight.zero_()
        gate.bias.fill_(-100.0)
    position = model.positions.weight[3:6]
    torch.testing.assert_close(model.hidden(batch)[0], model.items.weight[torch.tensor([3, 1, 4])] + position)


@torch.no_grad()
def test_the_future_changes_no_state() -> None:
    model = build()
    one, other = (model.hidden(Histories.of_lists([row]).padded(6)) for row in ([3, 1, 4, 7], [3, 1, 9, 2]))
    torch.testing.assert_close(one[:, :2], other[:, :2])


def test_the_loss_is_a_sampled_softmax_unless_told_otherwise() -> None:
    assert ESASRecConfig().loss == "sampled-softmax"
    batch = Histories.of_lists([[3, 1, 4, 7]]).padded(6)
    model = build(negatives=5, blocks=1)
    torch.manual_seed(7)
    found, _ = model.training_loss(batch)
    torch.manual_seed(7)
    negatives = torch.randint(20, (5,))
    states, terms = hidden_slowly(model, [3, 1, 4]), []
    for state, target in zip(states, [1, 4, 7], strict=True):
        others = negatives[negatives != target]
        logits = model.items.weight[torch.cat([torch.tensor([target]), others])] @ state
        terms.append(torch.logsumexp(logits, 0) - logits[0])
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


def test_item_vectors_drop_the_same_numbers_as_they_are_read_and_scored() -> None:
    batch = Histories.of_lists([[3, 1, 4, 7]]).padded(6)
    model = build(negatives=5, blocks=1, dropout=0.0, attention_dropout=0.0, item_dropout=0.5).train()
    torch.manual_seed(7)
    found, _ = model.training_loss(batch)
    torch.manual_seed(7)
    dropped = model.item_dropout(model.items.weight.detach())
    assert 0.2 < (dropped == 0).float().mean() < 0.8
    with torch.no_grad():
        model.items.weight.copy_(dropped)
        model.item_dropout.eval()
        expected = model.catalogue_loss(model.hidden(batch.inputs())[0], batch.items[0, 1:])
    torch.testing.assert_close(found, expected)


def test_every_position_may_have_negatives_of_its_own() -> None:
    batch = Histories.of_lists([[3, 1, 4, 7]]).padded(6)
    model = build(negatives=5, blocks=1, shared_negatives=False)
    torch.manual_seed(7)
    found, _ = model.training_loss(batch)
    torch.manual_seed(7)
    negatives, terms = torch.randint(20, (15,)).view(3, 5), []
    for state, target, own in zip(hidden_slowly(model, [3, 1, 4]), [1, 4, 7], negatives, strict=True):
        others = own[own != target]
        logits = model.items.weight[torch.cat([torch.tensor([target]), others])] @ state
        terms.append(torch.logsumexp(logits, 0) - logits[0])
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)
