"""How a condition enters a pre-trained Climber-Pilot: CGSA (Climber-Pilot, section 3.3) and its three rivals (Table 4).

All of them answer for chosen rows of a sequence, each row with its own condition, from one pass of the encoder, so that
training is dense, and P conditions of one user are P rows of one batch. Before the first step of fine-tuning `pinrec`
and `adaln-zero` are exactly the pre-trained function, `cgsa` is that function under its mask, and `lum` asks with a
token that the encoder has never seen.

Q is the number of answering rows.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cpbench.climber_pilot.encoder import Layer, Modulation
from cpbench.climber_pilot.model import ClimberPilot, Encoded
from cpbench.climber_pilot.time_mask import take_rows


class Asked(NamedTuple):
    """The rows that answer, and under which condition."""

    rows: Tensor
    """Positions in the sequence, int64 [B, Q]."""
    visible: Tensor
    """How many keys each may see, int64 [B, Q]."""
    values: Tensor
    """The condition of each, int64 [B, Q]."""
    matching: Tensor
    """Which keys carry it, bool [B, Q, L]."""

    def keys(self) -> Tensor:
        """Which keys a row may see without a condition, bool [B, Q, L]."""
        return torch.arange(self.matching.shape[2], device=self.rows.device) < self.visible[:, :, None]


class Conditioning(nn.Module):
    """Branch k's answer for the asked rows, [B, Q, D]; this base class ignores the condition."""

    def __init__(self, pilot: ClimberPilot, n_values: int) -> None:
        super().__init__()

    def answer(self, pilot: ClimberPilot, k: int, encoded: Encoded, asked: Asked) -> Tensor:
        return self.attended(pilot, k, encoded, asked, asked.keys())

    def attended(self, pilot: ClimberPilot, k: int, encoded: Encoded, asked: Asked, allowed: Tensor,
                 modulation: Modulation | None = None) -> Tensor:
        """Branch k over the keys in `allowed` bool [B, Q, L]; rows that see none get zero attention output."""
        blind = ~allowed.any(dim=2)
        hidden_keys = ~(allowed | blind[:, :, None])[:, None]
        bias = take_rows(encoded.bias, asked.rows).masked_fill(hidden_keys, -torch.inf)
        state = encoded.states[-1]
        answer: Tensor = pilot.branches[k - 1](state, bias, blind, take_rows(state, asked.rows), modulation)
        return answer


class SparseAttention(Conditioning):
    """CGSA: in the branch layer a row sees only keys that carry its condition. No new parameters."""

    def answer(self, pilot: ClimberPilot, k: int, encoded: Encoded, asked: Asked) -> Tensor:
        return self.attended(pilot, k, encoded, asked, asked.keys() & asked.matching)


class OutputHead(Conditioning):
    """PinRec: a network over the branch's answer and the condition's embedding, added to the answer; starts at zero."""

    def __init__(self, pilot: ClimberPilot, n_values: int) -> None:
        super().__init__(pilot, n_values)
        width = pilot.config.width
        self.condition = nn.Embedding(n_values, width)
        self.head = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        nn.init.normal_(self.condition.weight, std=0.02)
        _zero(self.head[-1])

    def answer(self, pilot: ClimberPilot, k: int, encoded: Encoded, asked: Asked) -> Tensor:
        plain = self.attended(pilot, k, encoded, asked, asked.keys())
        added: Tensor = self.head(torch.cat([plain, self.condition(asked.values)], dim=-1))
        return plain + added


class ConditionToken(Conditioning):
    """LUM: the condition is one more token after the history; it reads the history and itself, and answers."""

    def __init__(self, pilot: ClimberPilot, n_values: int) -> None:
        super().__init__(pilot, n_values)
        self.condition = nn.Embedding(n_values, pilot.config.width)
        nn.init.normal_(self.condition.weight, std=0.02)

    def answer(self, pilot: ClimberPilot, k: int, encoded: Encoded, asked: Asked) -> Tensor:
        itself = torch.eye(asked.rows.shape[1], dtype=torch.bool, device=asked.rows.device)
        allowed = torch.cat([asked.keys(), itself.expand(len(asked.rows), -1, -1)], dim=2)  # [B, Q, L + Q]
        bias = take_rows(encoded.bias, asked.rows)
        bias = torch.cat([bias, bias.new_zeros(*bias.shape[:3], asked.rows.shape[1])], dim=3)
        bias = bias.masked_fill(~allowed[:, None], -torch.inf)
        token = pilot.dropout(self.condition(asked.values))
        layers: list[Layer] = [*pilot.encoder, pilot.branches[k - 1]]  # type: ignore[list-item]
        for state, layer in zip(encoded.states, layers, strict=True):
            token = layer(torch.cat([state, token], dim=1), bias, None, token)
        return token


class AdaptiveNorm(Conditioning):
    """AdaLN-Zero: the condition scales, shifts and gates the branch layer's answering row; starts without effect.

    Keys and values stay as they are, so that one pass serves many conditions; gates are 1 + alpha, because zero gates
    would remove the pre-trained layer.
    """

    def __init__(self, pilot: ClimberPilot, n_values: int) -> None:
        super().__init__(pilot, n_values)
        width = pilot.config.width
        self.condition = nn.Embedding(n_values, width)
        self.modulation = nn.ModuleList(nn.Linear(width, 6 * width) for _ in pilot.branches)
        nn.init.normal_(self.condition.weight, std=0.02)
        for linear in self.modulation:
            _zero(linear)

    def answer(self, pilot: ClimberPilot, k: int, encoded: Encoded, asked: Asked) -> Tensor:
        asked_for = nn.functional.silu(self.condition(asked.values))
        modulation = Modulation(*self.modulation[k - 1](asked_for).chunk(6, dim=-1))
        return self.attended(pilot, k, encoded, asked, asked.keys(), modulation)


def _zero(linear: nn.Module) -> None:
    assert isinstance(linear, nn.Linear)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)


METHODS: dict[str, type[Conditioning]] = {
    "cgsa": SparseAttention,
    "pinrec": OutputHead,
    "lum": ConditionToken,
    "adaln-zero": AdaptiveNorm,
    "none": Conditioning,
}
"""`none` is fine-tuned like the others and never sees the condition: what the data alone are worth."""
