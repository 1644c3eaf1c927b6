"""PinRec, unconditional (Badrinath et al. 2025, https://arxiv.org/abs/2504.10507): dense generative retrieval.

normalised item vectors + position vectors + features of absolute and relative time -> dropout
-> [norm, causal attention, residual -> norm, feed-forward, residual] x blocks -> norm
-> output head (a network), normalised -> inner product with the normalised item vectors.

Trained by softmax over half random, half in-batch negatives, corrected for how often each is drawn, with a learned
scale. The paper's content vectors, surfaces and outcomes do not exist in public logs: this is its PinRec-UC on ids and
times. With a condition in the head, as a rival of CGSA, it is ``--model climber-pilot --set sft.method=pinrec``.
"""

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cpbench.data.protocol import Split
from cpbench.models.base import Facts, ModelConfig, Sequences
from cpbench.models.layers import Dropout, SelfAttention, from_the_end
from cpbench.models.losses import sampled_softmax, uniform_negatives
from cpbench.models.sequence import SequenceModel

DAY = 86_400
PERIODS = (DAY, 7 * DAY, 365.25 * DAY)  # daily, weekly, seasonal


class PinRecConfig(ModelConfig):
    """The paper's model is 12 layers of width 768 on private data: sizes here are those of the other baselines."""

    length: int = Field(50, ge=1)
    """Most recent interactions read (L)."""
    width: int = Field(64, ge=1)
    blocks: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    feed_forward: int = Field(4, ge=1)
    """Inner width of the feed-forward as a multiple of `width`."""
    dropout: float = Field(0.2, ge=0, lt=1)
    frequencies: int = Field(16, ge=1)
    """Of the time since the previous interaction, spread evenly on a log scale from a minute to a year."""
    negatives: int = Field(2048, ge=2)
    """Shared by a batch: half uniform over the catalogue, half from the batch's own targets."""
    scale: float = Field(20.0, gt=0)
    """Where the learned scale of the logits starts."""


class TimeFeatures(nn.Module):
    """[B, L] seconds -> [B, L, D]: phases of the day, week and year, and learned phases of the time since the last."""

    period: Tensor

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        spread = torch.linspace(math.log(60), math.log(365 * DAY), frequencies, dtype=torch.float64)
        self.register_buffer("period", torch.exp(spread), persistent=False)
        self.phase = nn.Parameter(torch.zeros(frequencies))
        self.project = nn.Linear(2 * len(PERIODS) + frequencies, width)

    def forward(self, times: Tensor) -> Tensor:
        angle = _angle(times, torch.tensor(PERIODS, dtype=torch.float64, device=times.device))
        gap = _angle(F.pad(times[:, 1:] - times[:, :-1], (1, 0)), self.period)
        added: Tensor = self.project(torch.cat([angle.sin(), angle.cos(), torch.sin(gap + self.phase)], dim=2))
        return added


def _angle(seconds: Tensor, periods: Tensor) -> Tensor:
    """[B, L] and [P] -> [B, L, P]; in double precision, since seconds since 1970 have no phase left in float32."""
    return (2 * math.pi * (seconds[:, :, None].double() / periods % 1)).float()


class Block(nn.Module):
    """One pre-norm transformer block, causal."""

    def __init__(self, config: PinRecConfig) -> None:
        super().__init__()
        width = config.width
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, config.heads)
        self.dropout = Dropout(config.dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, config.feed_forward * width), nn.GELU(), Dropout(config.dropout),
            nn.Linear(config.feed_forward * width, width), Dropout(config.dropout))

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.feed_forward(x)


class PinRec(SequenceModel):
    """Dense generative retrieval: a causal transformer whose head gives the vector to search with."""

    name = "pinrec"
    Config = PinRecConfig
    config: PinRecConfig
    log_expected: Tensor

    def __init__(self, config: PinRecConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        width = config.width
        self.items = nn.Embedding(facts.n_items, width)
        self.positions = nn.Embedding(config.length, width)
        self.times = TimeFeatures(config.frequencies, width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        self.register_buffer("log_expected", torch.zeros(facts.n_items), persistent=False)
        for module in (self.items, self.positions, self.times.project):
            nn.init.normal_(module.weight, std=0.02)

    @property
    def information(self) -> list[str]:
        return ["times"]

    @property
    def max_length(self) -> int:
        return self.config.length

    def begin_training(self, split: Split) -> None:
        super().begin_training(split)
        half = self.config.negatives / 2
        share = self.popularity / self.popularity.sum()
        self.log_expected = torch.log(half / self.facts.n_items + half * share)

    def item_matrix(self) -> Tensor:
        return F.normalize(self.items.weight, dim=1)

    def hidden(self, batch: Sequences) -> Tensor:
        position = from_the_end(batch.lengths, batch.items.shape[1], self.config.length)
        # of unit size in every column, so that position and time start as small additions
        x = F.normalize(self.items(batch.items), dim=2) * self.config.width**0.5
        x = self.dropout(x + self.positions(position) + self.times(batch.times))
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.head(self.norm(x)), dim=2)

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        inputs = batch.inputs()
        real = inputs.real()
        hidden, targets = self.hidden(inputs)[real], batch.items[:, 1:][real]  # [T, D], [T]
        half = self.config.negatives // 2
        in_batch = targets[torch.randint(len(targets), (half,), device=self.device)]
        negatives = torch.cat([uniform_negatives((half,), self.facts.n_items, self.device), in_batch])
        loss = sampled_softmax(hidden * self.log_scale.exp(), self.item_matrix(), targets, negatives,
                               self.log_expected)
        return loss, {"scale": self.log_scale.exp().item()}
