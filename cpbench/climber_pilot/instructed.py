"""Climber-Pilot's fine-tuning stage (SFT, section 3.3): a pre-trained model that obeys a condition.

One encoder pass; all K branches predict the same target under the target's condition, branch k from the row k - 1
places before branch 1's (causality makes reading an earlier row the same as truncating the history). The condition
enters by one of `METHODS`; the paper's is CGSA. The encoder keeps the mask of pre-training.
"""

from typing import Any, Literal, Self

import torch
from torch import Tensor

from cpbench.climber_pilot.conditioning import METHODS, Asked
from cpbench.climber_pilot.model import ClimberPilot, ClimberPilotConfig, Encoded
from cpbench.climber_pilot.time_mask import visible_counts
from cpbench.data.protocol import Split
from cpbench.errors import UsageError
from cpbench.models.base import Facts, Histories, InstructedRecommender, ModelConfig, Recommender, Sequences
from cpbench.models.conditions import Conditions, require_condition
from cpbench.models.sequence import SequenceModel


class InstructedPilotConfig(ModelConfig):
    """Settings of the fine-tuning stage; `pilot` are those of the pre-trained model."""

    pilot: ClimberPilotConfig = ClimberPilotConfig()
    condition: str = "auto"
    """The attribute whose values are the conditions; auto is the item vector's own category."""
    method: Literal["cgsa", "pinrec", "lum", "adaln-zero", "none"] = "cgsa"
    rows: Literal["dense", "last"] = "dense"
    """dense: every row under its own target's condition. last (the paper): one row a sequence and epoch, the end of a
    prefix drawn anew each time."""
    condition_embedding: bool = False
    """Add a learned vector of the condition to the answering row (not in the paper: there the condition is a mask)."""


class InstructedPilot(SequenceModel, InstructedRecommender):
    """Climber-Pilot after SFT: general and instructed retrieval from one encoder pass."""

    name = "climber-pilot-instructed"
    Config = InstructedPilotConfig
    config: InstructedPilotConfig

    def __init__(self, config: InstructedPilotConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.pilot = ClimberPilot(config.pilot, facts)
        name = (self.pilot.category or "none") if config.condition == "auto" else config.condition
        self.conditions = Conditions(facts, name)
        self.conditioning = METHODS[config.method](self.pilot, len(self.conditions))
        self.embedding: torch.nn.Embedding | None = None
        if config.condition_embedding:
            self.embedding = torch.nn.Embedding(len(self.conditions), config.pilot.width)
            torch.nn.init.zeros_(self.embedding.weight)

    @classmethod
    def build(cls, settings: dict[str, Any], pretrained: Recommender, condition: str, facts: Facts) -> Self:
        require_condition(condition, facts)
        assert isinstance(pretrained, ClimberPilot)
        # these facts hold more attributes than the pre-trained model chose its category from
        pilot = pretrained.config.model_copy(update={"category": pretrained.category or "none"})
        made = cls(InstructedPilotConfig(**{**settings, "pilot": pilot, "condition": condition}), facts)
        made.pilot.load_tensors(pretrained.tensors())
        return made

    @property
    def information(self) -> list[str]:
        return [*self.pilot.information, "condition", *(["request time"] if self.conditions.by_age else [])]

    @property
    def max_length(self) -> int:
        return self.pilot.max_length

    @property
    def asks_one_position(self) -> bool:
        return self.config.rows == "last"

    def begin_training(self, split: Split) -> None:
        super().begin_training(split)
        self.pilot.begin_training(split)

    def item_matrix(self) -> Tensor:
        return self.pilot.item_matrix()

    def hidden(self, batch: Sequences) -> Tensor:
        return self.pilot.hidden(batch)

    def queries(self, batch: Sequences, items: Tensor | None = None) -> Tensor:
        return self.pilot.queries(batch, items)

    def instructed_queries(self, batch: Sequences, values: Tensor, times: Tensor,
                           items: Tensor | None = None) -> Tensor:
        """The query of each user under each condition: values, times int64 [B, P] -> [B, P, D].

        The encoder runs once; P conditions are P answering rows of the branch layer.
        """
        encoded = self.pilot.served(batch, items)
        last = (batch.lengths - 1).clamp(min=0)[:, None].expand_as(values)
        visible = torch.minimum(last + 1, batch.lengths[:, None])
        return self._answer(1, encoded, Asked(last, visible, values, self._matching(batch, values, times)))

    def score_given(self, histories: Histories, values: Tensor, times: Tensor | None = None) -> Tensor:
        """Scores under one condition a user, float32 [B, N]; `times` [B] are the requests', else the histories' own.

        Raises UsageError for a freshness without the time of the request.
        """
        times = histories.request_times if times is None else times
        if times is None and self.conditions.by_age:
            raise UsageError("freshness is an item's age at the request: give the histories their request times")
        batch = histories.padded(self.max_length).to(self.device)
        values = values.to(self.device)
        times = torch.zeros_like(values) if times is None else times.to(self.device)
        items = self.item_matrix()
        scores = (self.instructed_queries(batch, values[:, None], times[:, None], items)[:, 0] @ items.T).float()
        empty = batch.lengths == 0
        if not bool(empty.any()):
            return scores
        within = self.popularity.expand_as(scores)  # a new user: what is popular (of that kind)
        if self.config.method != "none":
            within = within * self.conditions.carriers(values, times)
        return torch.where(empty[:, None], within, scores)

    def scores_under(self, histories: Histories, condition: str) -> Tensor:
        values = torch.full((len(histories),), self.conditions.value(condition))
        return self.score_given(histories, values)

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        pilot, config = self.pilot, self.config
        inputs = batch.inputs()
        real = inputs.real()
        window = pilot.config.window if pilot.config.mode == "tamip" else 0
        visible = visible_counts(inputs.times, batch.times[:, 1:], window)
        causal = visible_counts(inputs.times, inputs.times, 0)
        exact = pilot.config.cutoff == "exact"
        items = self.item_matrix()
        encoded = pilot.encode(inputs, causal if exact else visible, items)
        values, asked_for = self.conditions.draw(batch.items[:, 1:], batch.times[:, 1:])  # of the target after row q
        labelled = real & asked_for & (_one_row_each(real) if config.rows == "last" else True)
        negatives = pilot.negatives(batch.items[:, 1:][real])

        total, parts = items.new_zeros(()), {}
        for k in range(1, len(pilot.branches) + 1):
            # the target after row q is answered by branch k from row q - k + 1, as it saw its own next item
            earlier = slice(0, max(real.shape[1] - k + 1, 0))
            rows = torch.arange(real.shape[1], device=self.device)[earlier].expand(len(real), -1)
            sees = visible[:, earlier]
            wanted = labelled[:, k - 1:]
            if exact:
                wanted = wanted & (sees > 0)
                rows = (sees - 1).clamp(min=0)
            if not bool(wanted.any()):
                continue
            wants, times = values[:, k - 1:], batch.times[:, k:]
            if config.rows == "last":  # one answering row a sequence: the others need no branch layer
                place = wanted.int().argmax(dim=1, keepdim=True)
                rows, sees, wants, times = (part.gather(1, place) for part in (rows, sees, wants, times))
                targets, wanted = batch.items[:, k:].gather(1, place), wanted.gather(1, place)
            else:
                targets = batch.items[:, k:]
            asked = Asked(rows, sees, wants, self._matching(inputs, wants, times))
            hidden = self._answer(k, encoded, asked)[wanted]
            loss = pilot.catalogue_loss(hidden, targets[wanted], items, negatives)
            total = total + loss * pilot.branch_weight(len(hidden), len(real) if config.rows == "last" else real.sum())
            parts[f"branch {k}"] = loss.item()
            parts[f"rows without a matching key {k}"] = _share_without_key(asked, wanted)
        if not parts:  # no row could be labelled: a zero that still backpropagates
            total = items.sum() * 0.0
        return total, parts

    def _answer(self, k: int, encoded: Encoded, asked: Asked) -> Tensor:
        answer: Tensor = self.conditioning.answer(self.pilot, k, encoded, asked)
        return self.pilot.query(answer if self.embedding is None else answer + self.embedding(asked.values))

    def _matching(self, batch: Sequences, values: Tensor, times: Tensor) -> Tensor:
        """Which keys carry each asked value, bool [B, Q, L]; values, times [B, Q]."""
        return self.conditions.carries(batch.items[:, None, :], values[:, :, None], times[:, :, None])


def _one_row_each(real: Tensor) -> Tensor:
    """One real row of each sequence, drawn at random, bool [B, L]."""
    lot = torch.rand(real.shape, device=real.device) * real
    return real & (lot == lot.amax(dim=1, keepdim=True))


def _share_without_key(asked: Asked, wanted: Tensor) -> float:
    nothing = ~(asked.keys() & asked.matching).any(dim=2)
    return float(nothing[wanted].float().mean())
