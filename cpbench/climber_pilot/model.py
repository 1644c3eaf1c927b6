"""Climber-Pilot, pre-training stage (Guo et al., KDD 2026, https://arxiv.org/abs/2602.13581).

item vectors (id + category) -> causal encoder with relative position and time bias -> K parallel one-layer branches
-> branch k's inner product with the item vectors predicts the item k steps ahead -> sum of sampled-softmax losses.

TAMIP hides, in encoder and branches, what happened within `window` seconds before the next interaction, because one
request exposes a batch and the log's order inside it is an artefact. Branch 1 answers at inference.
Where the paper is silent, see docs/climber-pilot.md.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cpbench.climber_pilot.encoder import Layer, RelativeBias
from cpbench.climber_pilot.items import ItemVectors, choose_category
from cpbench.climber_pilot.time_mask import blind_rows, staircase, take_rows, visible_counts
from cpbench.data.protocol import Split
from cpbench.models.base import Facts, InstructedRecommender, ModelConfig, Sequences
from cpbench.models.layers import Dropout
from cpbench.models.losses import full_softmax, sampled_softmax, uniform_negatives
from cpbench.models.sequence import SequenceModel


class ClimberPilotConfig(ModelConfig):
    """Defaults are the paper's where it gives them."""

    mode: Literal["nip", "mip", "tamip"] = "tamip"
    """nip: next item only (K = 1, no mask); mip: K branches, no mask; tamip: K branches and the time mask."""
    window: int = Field(900, ge=0)
    """Seconds before the next interaction that training hides (the paper's delta tau, 15 minutes); 0 hides nothing."""
    cutoff: Literal["mask", "exact"] = "mask"
    """mask: the paper's (recent keys are hidden, the row keeps its residual); exact: the target after row q is
    predicted from the last visible row under the plain causal mask, which is what serving sees."""
    length: int = Field(50, ge=1)
    """Most recent interactions read (L)."""
    width: int = Field(32, ge=2)
    layers: int = Field(3, ge=1)
    branches: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    feed_forward: int = Field(4, ge=1)
    """Inner width of the feed-forward as a multiple of `width`."""
    dropout: float = Field(0.2, ge=0, lt=1)
    category: str = "auto"
    """Item attribute in the item vector: auto (genre, else category, else the first there is), none, or a name."""
    category_width: int = Field(8, ge=1)
    """Columns of `width` that belong to the category."""
    loss: Literal["sampled-softmax", "softmax"] = "sampled-softmax"
    temperature: float = Field(0.0, ge=0)
    """0: scores are inner products, the paper's. Above 0 items and answers are unit vectors and a score is their cosine
    over it, as in HSTU's public code."""
    negatives: int = Field(512, ge=1)
    """Shared by all positions of a batch and by all branches."""
    branch_loss: Literal["mean", "targets"] = "mean"
    """The paper adds up L^(k) and does not say how a batch is averaged. mean: each branch over its own targets of the
    batch; targets: over all targets, which weigh the same whatever their branch and batch."""
    sampler: Literal["uniform", "in-batch"] = "uniform"
    """in-batch: drawn from the batch's own targets, with logQ correction."""


class Encoded(NamedTuple):
    """What the encoder leaves for the branches: they may read it under other masks, and for chosen rows only."""

    states: list[Tensor]
    """The input of every encoder layer and, last, the encoder's output; each [B, L, D]."""
    bias: Tensor
    """Relative bias without any mask, [B, H, L, L]."""
    masked: Tensor
    """The same with the mask, minus infinity where a row may not look."""
    visible: Tensor
    """How many keys each row sees, int64 [B, L]."""
    blind: Tensor | None
    """Which rows see nothing, bool [B, L]; None where there is none."""


class ClimberPilot(SequenceModel):
    """Predicts K items ahead; with a window, recent history is hidden by time (TAMIP)."""

    name = "climber-pilot"
    Config = ClimberPilotConfig
    config: ClimberPilotConfig
    log_expected: Tensor

    def __init__(self, config: ClimberPilotConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        if config.width % config.heads:
            raise ValueError(f"width {config.width} is not a multiple of heads {config.heads}")
        if config.category_width >= config.width:
            raise ValueError(f"category_width {config.category_width} leaves nothing of width {config.width} to the id")
        self.category = choose_category(facts, config.category)
        self.items = ItemVectors(facts, config.width, self.category, config.category_width)
        self.dropout = Dropout(config.dropout)
        self.bias = RelativeBias(config.heads, config.length)
        shape = (config.width, config.heads, config.feed_forward, config.dropout)
        self.encoder = nn.ModuleList(Layer(*shape) for _ in range(config.layers))
        n_branches = 1 if config.mode == "nip" else config.branches
        self.branches = nn.ModuleList(Layer(*shape) for _ in range(n_branches))
        self.register_buffer("log_expected", torch.zeros(facts.n_items), persistent=False)

    @classmethod
    def instructed(cls) -> type[InstructedRecommender]:
        from cpbench.climber_pilot.instructed import InstructedPilot

        return InstructedPilot

    @property
    def information(self) -> list[str]:
        return ["times", *(["categories"] if self.category else [])]

    @property
    def max_length(self) -> int:
        return self.config.length

    def begin_training(self, split: Split) -> None:
        super().begin_training(split)
        share = self.popularity.clamp(min=0.5) / self.popularity.sum()
        self.log_expected = torch.log(self.config.negatives * share)  # of each item's count among in-batch negatives

    def item_matrix(self) -> Tensor:
        items: Tensor = self.items()
        return F.normalize(items, dim=-1) if self.config.temperature else items

    def query(self, answer: Tensor) -> Tensor:
        """A branch layer's answer [..., D] as what is multiplied with the item vectors."""
        return F.normalize(answer, dim=-1) / self.config.temperature if self.config.temperature else answer

    def encode(self, batch: Sequences, visible: Tensor, items: Tensor) -> Encoded:
        """Run the encoder on a batch of which row q sees the first visible[b, q] keys; items [N, D] are all vectors."""
        bias = self.bias(batch.times)
        masked, blind = bias + staircase(visible, visible.shape[1]), blind_rows(visible)
        scale = self.config.width**0.5 if self.config.temperature else 1.0  # of unit vectors: a root mean square of 1
        states = [self.dropout(items[batch.items] * scale)]
        for layer in self.encoder:
            states.append(layer(states[-1], masked, blind))
        return Encoded(states, bias, masked, visible, blind)

    def branch(self, k: int, encoded: Encoded) -> Tensor:
        """Branch k's answer at every position, [B, L, D]."""
        return self.query(self.branches[k - 1](encoded.states[-1], encoded.masked, encoded.blind))

    def served(self, batch: Sequences, items: Tensor | None = None) -> Encoded:
        """The encoder under the plain causal mask: what serving computes (the time mask belongs to training only)."""
        return self.encode(batch, visible_counts(batch.times, batch.times, 0),
                           self.item_matrix() if items is None else items)

    def hidden(self, batch: Sequences) -> Tensor:
        return self.branch(1, self.served(batch))

    def queries(self, batch: Sequences, items: Tensor | None = None) -> Tensor:
        encoded, last = self.served(batch, items), (batch.lengths - 1).clamp(min=0)[:, None]
        state = encoded.states[-1]
        seen = staircase(last + 1, state.shape[1])  # [B, 1, 1, L]
        answer: Tensor = self.branches[0](state, take_rows(encoded.bias, last) + seen, None, take_rows(state, last))
        return self.query(answer[:, 0])

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        inputs = batch.inputs()
        real = inputs.real()
        window = config.window if config.mode == "tamip" else 0
        visible = visible_counts(inputs.times, batch.times[:, 1:], window)
        causal = visible_counts(inputs.times, inputs.times, 0)
        items = self.item_matrix()
        encoded = self.encode(inputs, visible if config.cutoff == "mask" else causal, items)
        negatives = self.negatives(batch.items[:, 1:][real])

        total, parts = items.new_zeros(()), {}
        for k in range(1, len(self.branches) + 1):
            hidden = self.branch(k, encoded)  # [B, L, D]
            has_target = real[:, k - 1:]  # row q has a target k steps ahead when input q + k - 1 is real
            n_rows = has_target.shape[1]
            if config.cutoff == "exact":  # read the last visible row; rows that see nothing have no prediction
                hidden = hidden.gather(1, (visible - 1).clamp(min=0)[:, :, None].expand_as(hidden))
                has_target = has_target & (visible > 0)[:, :n_rows]
            rows = hidden[:, :n_rows][has_target]  # [T, D]
            targets = batch.items[:, k:][has_target]  # [T]
            if len(targets):
                loss = self.catalogue_loss(rows, targets, items, negatives)
                total = total + loss * self.branch_weight(len(targets), real.sum())
                parts[f"branch {k}"] = loss.item()
        if not parts:  # nothing visible in the whole batch: a zero that still backpropagates
            total = items.sum() * 0.0
        parts["blind rows"] = ((visible == 0) & real).sum().item() / max(int(real.sum()), 1)
        return total, parts

    def branch_weight(self, n_targets: int, asked: Tensor | int) -> Tensor | float:
        """Of a branch's mean over `n_targets`, in a batch that asks `asked` positions: by that number the training loop
        weighs batches."""
        return n_targets / asked if self.config.branch_loss == "targets" else 1.0

    def negatives(self, targets: Tensor) -> Tensor:
        """S negative ids, int64 [S]."""
        if self.config.sampler == "uniform":
            return uniform_negatives((self.config.negatives,), self.facts.n_items, self.device)
        return targets[torch.randint(len(targets), (self.config.negatives,), device=self.device)]

    def catalogue_loss(self, hidden: Tensor, targets: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        if self.config.loss == "softmax":
            return full_softmax(hidden, items, targets)
        log_expected = self.log_expected if self.config.sampler == "in-batch" else None
        return sampled_softmax(hidden, items, targets, negatives, log_expected)
