import math
from typing import Any

import pytest
import torch
from cpbench.baselines.bert4rec import BERT4Rec, BERT4RecConfig

from cpbench.models.base import Facts, Histories, Sequences
from cpbench.models.conformance import check_leakage
from cpbench.models.examination import CheckError, Examination
from cpbench.training.loop import seed_everything

LENGTH = 6


def build(**config: Any) -> BERT4Rec:
    seed_everything(1, 0)
    model = BERT4Rec(BERT4RecConfig(**{"width": 8, "heads": 1, "length": LENGTH, **config}), Facts(20, {})).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms start at 0 and 1: make them matter
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def norm(x: torch.Tensor, layer: torch.nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + layer.eps) * layer.weight + layer.bias


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def logits_slowly(model: BERT4Rec, items: list[int]) -> list[torch.Tensor]:
    """The paper, one position and one key at a time: scores of the catalogue at every position of `items`."""
    width, length = model.config.width, len(items)
    x = [norm(model.items.weight[item] + model.positions.weight[model.config.length + 1 - length + place], model.norm)
         for place, item in enumerate(items)]
    for block in model.blocks:
        queries, keys, values = zip(*(block.attention.query_key_value(row).chunk(3) for row in x), strict=True)
        after = []
        for q in range(length):
            weights = torch.exp(torch.stack([queries[q] @ key / math.sqrt(width) for key in keys]))
            mixed = sum(weight * value for weight, value in zip(weights / weights.sum(), values, strict=True))
            row = norm(x[q] + block.attention.output(mixed), block.attention_norm)
            first, _, second, _ = block.feed_forward
            inner = second.weight @ gelu(first.weight @ row + first.bias) + second.bias
            after.append(norm(row + inner, block.feed_forward_norm))
        x = after
    if model.config.output == "own":
        return [model.answers.weight @ row + model.item_bias for row in x]
    linear, _, layer = model.head
    return [model.items.weight[:20] @ norm(gelu(linear(row)), layer) + model.item_bias for row in x]


ROWS = [[3, 1, 4], [1, 5, 9, 2, 6, 5]]


@pytest.mark.parametrize("output", ["tied", "own"])
@torch.no_grad()
def test_recommending_equals_the_paper_with_a_mask_appended(output: str) -> None:
    model = build(output=output)
    scores = model.score(Histories.of_lists([*ROWS, list(range(9))]))
    for found, row in zip(scores, [*ROWS, list(range(3, 9))], strict=True):
        torch.testing.assert_close(found, logits_slowly(model, [*row, model.mask])[-1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_state_after_every_position_is_that_of_its_prefix() -> None:
    model = build()
    hidden = model.hidden(Histories.of_lists(ROWS).padded(LENGTH)) @ model.item_matrix().T
    for b, row in enumerate(ROWS):
        for q in range(len(row)):
            torch.testing.assert_close(hidden[b, q], logits_slowly(model, [*row[:q + 1], model.mask])[-1],
                                       rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["tied", "own"])
def test_the_loss_guesses_masked_cells_from_what_is_left(output: str) -> None:
    model, batch = build(mask_rate=0.4, output=output), Histories.of_lists(ROWS).padded(LENGTH)
    torch.manual_seed(7)
    found, _ = model.training_loss(batch)
    torch.manual_seed(7)
    cells, terms = model.masked_cells(batch), []
    for b, row in enumerate(ROWS):
        seen = [model.mask if cells[b, place] else item for place, item in enumerate(row)]
        for place, logits in enumerate(logits_slowly(model, seen)):
            if cells[b, place]:
                terms.append(torch.logsumexp(logits, 0) - logits[row[place]])
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


def test_masks_are_real_cells_at_the_configured_rates() -> None:
    lengths = torch.tensor([2, 7]).repeat(3000)
    batch = Sequences(torch.zeros(6000, 7, dtype=torch.int64), torch.zeros(6000, 7, dtype=torch.int64), lengths)
    torch.manual_seed(1)
    cells = build(mask_rate=0.3, last_share=0.0).masked_cells(batch)
    assert not (cells & ~batch.real()).any()
    assert cells.any(1).all()
    missing = 0.7**7  # where nothing was drawn one cell is masked all the same
    assert abs(cells[1::2].float().mean() - (0.3 + missing / 7)) < 0.01
    assert cells[1::2].float().mean(0).std() < 0.02
    last_only = build(mask_rate=0.3, last_share=1.0).masked_cells(batch)
    assert last_only.sum() == 6000
    assert last_only[torch.arange(6000), lengths - 1].all()


@torch.no_grad()
def test_a_masked_item_is_never_visible() -> None:
    """Whatever stands in the masked cells, and in padding, the states that answer are the same."""
    model, batch = build(mask_rate=0.4), Histories.of_lists(ROWS).padded(LENGTH)
    encoded: list[torch.Tensor] = []
    model.blocks[-1].register_forward_hook(lambda _, __, states: encoded.append(states))
    torch.manual_seed(7)
    cells = model.masked_cells(batch)
    for other in (0, 11):
        items = torch.where(cells | ~batch.real(), other, batch.items)
        torch.manual_seed(7)
        model.training_loss(Sequences(items, batch.times, batch.lengths))
    answering = torch.arange(encoded[0].shape[1]) < cells.sum(1, keepdim=True)
    assert answering.sum() == cells.sum()
    torch.testing.assert_close(encoded[0][answering], encoded[1][answering], rtol=0, atol=0)


class Careless(BERT4Rec):
    """Looks at the items it is asked for."""

    def training_loss(self, batch: Sequences) -> tuple[torch.Tensor, dict[str, float]]:
        self.truth = batch.items
        try:
            return super().training_loss(batch)
        finally:
            del self.truth

    def encode(self, items: torch.Tensor, lengths: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        return super().encode(getattr(self, "truth", items), lengths, cells)


def test_the_conformance_suite_finds_a_cloze_that_shows_its_answers() -> None:
    config = BERT4RecConfig(width=16, heads=1, blocks=1)
    assert check_leakage(Examination(BERT4Rec, config, steps=25)) is None
    with pytest.raises(CheckError, match="on random pairs the loss falls to"):
        check_leakage(Examination(Careless, config, steps=25))
