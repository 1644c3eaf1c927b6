"""The fine-tuning stage written one row, one key and one condition at a time, from section 3.3 of the paper."""

import math

import torch
from torch import Tensor

from cpbench.climber_pilot.conditioning import AdaptiveNorm, ConditionToken, OutputHead, SparseAttention
from cpbench.climber_pilot.instructed import InstructedPilot
from tests.climber_pilot.test_model import items_slowly, layer_slowly, logits_slowly, normed

Sequence = tuple[list[int], list[int]]
"""Items and their times."""


def one_row(layer: torch.nn.Module, keys: list[Tensor], biases: list[Tensor], x: Tensor,
            modulation: list[Tensor] | None = None) -> Tensor:
    """A layer's answer for the row x over these keys (none: attention gives zero); one head."""
    width = len(x)
    of_query, of_key, of_value = layer.query_key_value.weight.split(width)
    shift, scale, gate, shift_after, scale_after, gate_after = modulation or [torch.zeros(width)] * 6
    query = of_query @ (normed(x, layer.attention_norm) * (1 + scale) + shift)
    mixed = torch.zeros(width)
    if keys:
        normal = [normed(key, layer.attention_norm) for key in keys]
        logits = torch.stack([query @ (of_key @ key) / math.sqrt(width) + bias
                              for key, bias in zip(normal, biases, strict=True)])
        weights = torch.softmax(logits, 0)
        mixed = sum(weight * (of_value @ key) for weight, key in zip(weights, normal, strict=True))
    x = x + (1 + gate) * layer.output(mixed)
    return x + (1 + gate_after) * layer.feed_forward(
        normed(x, layer.feed_forward_norm) * (1 + scale_after) + shift_after)


def states_slowly(model: InstructedPilot, items: list[int], bias: Tensor, sees: list[list[int]]) -> list[list[Tensor]]:
    """The input of every encoder layer and its output, a vector a row."""
    states = [items_slowly(model.pilot, items)[1]]
    for layer in model.pilot.encoder:
        states.append(layer_slowly(layer, states[-1], sees, bias))
    return states


def answer_slowly(model: InstructedPilot, k: int, states: list[list[Tensor]], bias: Tensor, row: int, keys: list[int],
                  items: list[int], value: int) -> Tensor:
    """Branch k's answer for one row that may see `keys`, under one condition."""
    method, branch, state = model.conditioning, model.pilot.branches[k - 1], states[-1]

    def over(chosen: list[int], modulation: list[Tensor] | None = None) -> Tensor:
        return one_row(branch, [state[j] for j in chosen], [bias[row, j] for j in chosen], state[row], modulation)

    if isinstance(method, SparseAttention):
        return over([j for j in keys if bool(model.conditions.member[items[j], value])])
    if isinstance(method, OutputHead):
        plain = over(keys)
        return plain + method.head(torch.cat([plain, method.condition.weight[value]]))
    if isinstance(method, AdaptiveNorm):
        asked = torch.nn.functional.silu(method.condition.weight[value])
        return over(keys, list(method.modulation[k - 1](asked).split(len(asked))))
    if isinstance(method, ConditionToken):
        token = method.condition.weight[value]
        for below, layer in zip(states, [*model.pilot.encoder, branch], strict=True):
            token = one_row(layer, [*(below[j] for j in keys), token], [*(bias[row, j] for j in keys), torch.zeros(())],
                            token)
        return token
    return over(keys)


def visible_slowly(model: InstructedPilot, times: list[int]) -> list[list[int]]:
    """The keys that each row but the last sees, given when its own next interaction happened."""
    config = model.pilot.config
    window = config.window if config.mode == "tamip" else 0
    return [[j for j in range(q + 1) if window == 0 or times[j] < times[q + 1] - window]
            for q in range(len(times) - 1)]


def loss_slowly(model: InstructedPilot, sequences: list[Sequence], seed: int) -> Tensor:
    """The training loss of a batch, where `seed` decides which values are asked for and which row is drawn."""
    width = max(len(items) for items, _ in sequences) - 1
    exact = model.pilot.config.cutoff == "exact"
    torch.manual_seed(seed)
    lots = torch.rand(len(sequences), width, len(model.conditions))
    last = torch.rand(len(sequences), width) if model.config.rows == "last" else None
    total = torch.zeros(())
    for k in range(1, len(model.pilot.branches) + 1):
        terms = []
        for number, (items, times) in enumerate(sequences):
            n = len(items) - 1
            drawn = range(n) if last is None else [max(range(n), key=lambda q: float(last[number, q]))]
            visible, bias = visible_slowly(model, times), model.pilot.bias(torch.tensor([times[:-1]]))[0, 0]
            sees = [list(range(q + 1)) for q in range(n)] if exact else visible
            states = states_slowly(model, items[:-1], bias, sees)
            for q in drawn:
                row = q - k + 1  # all branches predict item q + 1, branch k from k - 1 interactions fewer
                carried = [value for value in range(len(model.conditions))
                           if bool(model.conditions.member[items[q + 1], value])]
                if row < 0 or not carried or (exact and not visible[row]):
                    continue
                value = max(carried, key=lambda value: float(lots[number, q, value]))
                reading = visible[row][-1] if exact else row
                answer = answer_slowly(model, k, states, bias, reading, visible[row], items[:-1], value)
                logits = logits_slowly(model.pilot, model.item_matrix(), answer)
                terms.append(torch.logsumexp(logits, 0) - logits[items[q + 1]])
        if terms:
            total = total + torch.stack(terms).mean()
    return total
