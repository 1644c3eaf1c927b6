from typing import Any

import torch
from cpbench.baselines.gru4rec import GRU4Rec, GRU4RecConfig

from cpbench.models.base import Facts, Histories
from cpbench.training.loop import seed_everything


def build(**config: Any) -> GRU4Rec:
    seed_everything(1, 0)
    model = GRU4Rec(GRU4RecConfig(**{"width": 4, "length": 6, **config}), Facts(20, {}))
    with torch.no_grad():
        for parameter in model.parameters():  # biases start at 0: make them matter
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def hidden_slowly(model: GRU4Rec, items: list[int]) -> list[torch.Tensor]:
    """Reset gate, update gate, candidate: one step of one sequence at a time."""
    x = [model.items.weight[item] for item in items]
    for layer in model.layers:
        state, after = torch.zeros(model.config.width), []
        for row in x:
            of_input = (layer.weight_ih_l0 @ row + layer.bias_ih_l0).chunk(3)
            of_state = (layer.weight_hh_l0 @ state + layer.bias_hh_l0).chunk(3)
            reset = 1 / (1 + torch.exp(-(of_input[0] + of_state[0])))
            keep = 1 / (1 + torch.exp(-(of_input[1] + of_state[1])))
            candidate = torch.tanh(of_input[2] + reset * of_state[2])
            state = (1 - keep) * candidate + keep * state
            after.append(state)
        x = after
    return x


@torch.no_grad()
def test_the_model_equals_the_recurrence_by_hand() -> None:
    model = build(layers=2).eval()
    rows = [[3, 1, 4], [1, 5, 9, 2, 6, 5]]
    fast = model.hidden(Histories.of_lists(rows).padded(6))
    for b, row in enumerate(rows):
        for q, slow in enumerate(hidden_slowly(model, row)):
            torch.testing.assert_close(fast[b, q], slow, rtol=1e-4, atol=1e-5)


def test_both_dropouts_act_in_training_only() -> None:
    batch = Histories.of_lists([[3, 1, 4]]).padded(6)
    for embedding, hidden in ((0.5, 0.0), (0.0, 0.5)):
        model = build(embedding_dropout=embedding, hidden_dropout=hidden).train()
        assert not torch.equal(model.hidden(batch), model.hidden(batch))
        assert torch.equal(model.eval().hidden(batch), model.hidden(batch))


@torch.no_grad()
def test_the_future_changes_no_state() -> None:
    model = build().eval()
    one, other = (model.hidden(Histories.of_lists([row]).padded(6)) for row in ([3, 1, 4, 7], [3, 1, 9, 2]))
    torch.testing.assert_close(one[:, :2], other[:, :2], rtol=0, atol=0)


def test_the_states_stay_in_float32_under_autocast() -> None:
    model = build().eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.hidden(Histories.of_lists([[3, 1, 4]]).padded(6)).dtype == torch.float32
