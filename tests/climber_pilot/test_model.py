"""TAMIP against a slow reference that follows the paper one row at a time."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from cpbench.climber_pilot.model import ClimberPilot, ClimberPilotConfig
from cpbench.data.dataset import Attribute
from cpbench.data.protocol import Protocol, split
from cpbench.errors import UsageError
from cpbench.models.base import Facts, Histories, Sequences
from cpbench.models.losses import full_softmax
from cpbench.training.loop import seed_everything
from tests.random_data import ragged

GENRE = Attribute(["rock", "tango"], np.array([0, 1, 0, 1], np.int32), np.array([0, 1, 1, 3, 4, *[4] * 5]))
FACTS = Facts(9, {"genre": GENRE})
ITEMS = [3, 1, 4, 1, 5, 2, 6]
TIMES = [0, 100, 101, 102, 300, 301, 500]


def build(**config: Any) -> ClimberPilot:
    seed_everything(3, 0)
    model = ClimberPilot(ClimberPilotConfig(**{"width": 8, "category_width": 2, "length": 10, "layers": 2, "heads": 1,
                                               "dropout": 0.0, "window": 50, "loss": "softmax", **config}), FACTS)
    with torch.no_grad():
        for parameter in model.bias.parameters():
            parameter.normal_(std=0.5)
    return model


def batch(*rows: tuple[list[int], list[int]]) -> Sequences:
    return Histories.of_lists([items for items, _ in rows], [times for _, times in rows]).padded(50)


def normed(x: torch.Tensor, layer: torch.nn.RMSNorm) -> torch.Tensor:
    eps = layer.eps if layer.eps is not None else torch.finfo(x.dtype).eps
    return x / torch.sqrt((x**2).mean() + eps) * layer.weight


def layer_slowly(layer: torch.nn.Module, x: list[torch.Tensor], sees: list[list[int]],
                 bias: torch.Tensor) -> list[torch.Tensor]:
    """One pre-norm layer; row q attends to keys sees[q] (none: attention gives zero)."""
    width = len(x[0])
    parts = [layer.query_key_value(normed(row, layer.attention_norm)).chunk(3) for row in x]
    out = []
    for q, row in enumerate(x):
        mixed = torch.zeros(width)
        if sees[q]:
            logits = torch.stack([parts[q][0] @ parts[j][1] / math.sqrt(width) + bias[q, j] for j in sees[q]])
            weights = torch.softmax(logits, 0)
            mixed = sum(weight * parts[j][2] for weight, j in zip(weights, sees[q], strict=True))
        row = row + layer.output(mixed)
        out.append(row + layer.feed_forward(normed(row, layer.feed_forward_norm)))
    return out


def items_slowly(model: ClimberPilot, items: list[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """All item vectors as scores use them, [N, D], and the inputs of these items."""
    vectors = model.items()
    if not model.config.temperature:
        return vectors, [vectors[item] for item in items]
    vectors = torch.stack([vector / torch.sqrt(vector @ vector) for vector in vectors])
    return vectors, [vectors[item] * math.sqrt(vectors.shape[1]) for item in items]


def logits_slowly(model: ClimberPilot, vectors: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Inner products, or cosines over the temperature; [N]."""
    if not model.config.temperature:
        return vectors @ answer
    return vectors @ answer / torch.sqrt(answer @ answer) / model.config.temperature


def loss_slowly(model: ClimberPilot, items: list[int], times: list[int]) -> torch.Tensor:
    config, n = model.config, len(items) - 1
    window = config.window if config.mode == "tamip" else 0
    visible = [[j for j in range(q + 1) if window == 0 or times[j] < times[q + 1] - window] for q in range(n)]
    causal = [list(range(q + 1)) for q in range(n)]
    vectors, x = items_slowly(model, items[:-1])
    bias = model.bias(torch.tensor([times[:-1]]))[0, 0]
    sees = visible if config.cutoff == "mask" else causal
    for layer in model.encoder:
        x = layer_slowly(layer, x, sees, bias)
    total = torch.zeros(())
    for k, branch in enumerate(model.branches, start=1):
        rows = layer_slowly(branch, x, sees, bias)
        terms = []
        for q in range(n):
            if q + k > n:
                continue
            if config.cutoff == "exact":
                if not visible[q]:
                    continue
                row = rows[visible[q][-1]]
            else:
                row = rows[q]
            logits = logits_slowly(model, vectors, row)
            terms.append(torch.logsumexp(logits, 0) - logits[items[q + k]])
        if terms:
            total = total + torch.stack(terms).mean()
    return total


@pytest.mark.parametrize("temperature", [0, 0.3])
@pytest.mark.parametrize("cutoff", ["mask", "exact"])
@pytest.mark.parametrize(("mode", "branches"), [("nip", 2), ("mip", 3), ("tamip", 1), ("tamip", 3)])
def test_the_training_loss_equals_the_paper_row_by_row(mode: str, branches: int, cutoff: str,
                                                       temperature: float) -> None:
    model = build(mode=mode, branches=branches, cutoff=cutoff, temperature=temperature)
    assert len(model.branches) == (1 if mode == "nip" else branches)
    loss, _ = model.training_loss(batch((ITEMS, TIMES)))
    torch.testing.assert_close(loss, loss_slowly(model, ITEMS, TIMES), rtol=1e-4, atol=1e-5)


def test_hidden_items_do_not_reach_the_row_except_by_its_own_residual() -> None:
    # row 3 (time 102) predicts the item at 300; window 250 hides everything from 50 on: keys 1, 2, 3
    config: dict[str, Any] = {"window": 250, "mode": "tamip"}

    def row_three(items: list[int], cutoff: str) -> torch.Tensor:
        model = build(cutoff=cutoff, branches=1, **config).eval()
        whole = batch((items, TIMES))
        inputs = Sequences(whole.items[:, :-1], whole.times[:, :-1], whole.lengths - 1)
        from cpbench.climber_pilot.time_mask import visible_counts
        visible = visible_counts(inputs.times, whole.times[:, 1:], 250)
        causal = visible_counts(inputs.times, inputs.times, 0)
        state = model.encode(inputs, visible if cutoff == "mask" else causal, model.item_matrix())
        hidden = model.branch(1, state)[0]
        return hidden[3] if cutoff == "mask" else hidden[visible[0, 3] - 1]

    other_hidden = [3, 8, 7, 1, 5, 2, 6]  # keys 1 and 2 changed
    other_own = [3, 1, 4, 8, 5, 2, 6]  # the row's own item changed
    assert torch.equal(row_three(ITEMS, "mask"), row_three(other_hidden, "mask"))
    assert not torch.equal(row_three(ITEMS, "mask"), row_three(other_own, "mask"))  # the paper's residual leak
    assert torch.equal(row_three(ITEMS, "exact"), row_three(other_hidden, "exact"))
    assert torch.equal(row_three(ITEMS, "exact"), row_three(other_own, "exact"))


@pytest.mark.parametrize("cutoff", ["mask", "exact"])
def test_a_batch_in_which_nothing_is_visible_has_a_finite_loss(cutoff: str) -> None:
    model = build(window=10**6, cutoff=cutoff)
    loss, parts = model.training_loss(batch((ITEMS, TIMES), ([1, 2], [0, 1])))
    loss.backward()
    assert math.isfinite(loss.item())
    assert parts["blind rows"] == 1.0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_share_of_blind_rows_is_reported() -> None:
    _, parts = build(window=50).training_loss(batch((ITEMS, TIMES)))
    assert parts["blind rows"] == 0.0  # row 0 sees itself at 0 < 100 - 50
    _, parts = build(window=150).training_loss(batch((ITEMS, TIMES)))
    assert parts["blind rows"] == pytest.approx(3 / 6)


def test_padding_and_company_do_not_change_a_score() -> None:
    model = build().eval()
    alone = model.score(Histories.of_lists([ITEMS], [TIMES]))
    together = model.score(Histories.of_lists([ITEMS, [1, 2, 3] * 3, []], [TIMES, list(range(9)), []]))
    torch.testing.assert_close(alone[0], together[0])


@pytest.mark.parametrize("temperature", [0, 0.3])
def test_serving_reads_the_last_row_of_what_training_reads(temperature: float) -> None:
    model, sequences = build(temperature=temperature).eval(), batch((ITEMS, TIMES), (ITEMS[:3], TIMES[:3]))
    rows = model.hidden(sequences)
    torch.testing.assert_close(model.queries(sequences), torch.stack([rows[0, -1], rows[1, 2]]))


def test_the_target_s_time_is_never_used_at_inference() -> None:
    model = build().eval()
    histories = Histories.of_lists([ITEMS], [TIMES])
    late = Histories(histories.items, histories.times, histories.offsets, torch.tensor([10**9]))
    assert torch.equal(model.score(histories), model.score(late))


def test_categories_are_part_of_the_item_vector() -> None:
    model = build()
    vectors = model.item_matrix()
    assert model.items.category is not None
    table = model.items.category.weight
    torch.testing.assert_close(vectors[0, 6:], table[0])
    torch.testing.assert_close(vectors[1, 6:], torch.zeros(2))  # an item without a value
    torch.testing.assert_close(vectors[2, 6:], table.mean(0))  # several values: their mean
    assert model.information == ["times", "categories"]


def test_the_category_can_be_named_or_left_out() -> None:
    assert build(category="none").information == ["times"]
    assert build(category="none").item_matrix().shape == (9, 8)
    with pytest.raises(UsageError, match="unknown item attribute 'gendre'; did you mean 'genre'"):
        build(category="gendre")


@pytest.mark.parametrize("settings", [{"mode": "mip"}, {"cutoff": "exact"}])
def test_with_targets_every_target_weighs_the_same_however_the_batches_are_cut(settings: dict) -> None:
    """The loop weighs a batch by the targets of its first branch; short sequences have fewer in the second."""
    rows = [(ITEMS, TIMES), (ITEMS[:2], TIMES[:2]), (ITEMS[:3], TIMES[:3]), (ITEMS[2:], TIMES[2:])]

    def total(model: ClimberPilot, *batches: Sequences) -> torch.Tensor:
        return sum(model.training_loss(each)[0] * (each.lengths - 1).sum() for each in batches)

    one_batch, by_length = [batch(*rows)], [batch(*rows[1:3]), batch(rows[0], rows[3])]
    equal, means = build(branch_loss="targets", **settings), build(**settings)
    for parameter in (*equal.parameters(), *means.parameters()):
        parameter.data *= 3  # else all losses are log 9, whatever they weigh
    torch.testing.assert_close(total(equal, *one_batch), total(equal, *by_length))
    assert not torch.allclose(total(means, *one_batch), total(means, *by_length), rtol=1e-3)


def test_in_batch_negatives_are_corrected_for_popularity() -> None:
    data = split(ragged(30, n_items=9), Protocol())
    model = build(loss="sampled-softmax", sampler="in-batch", negatives=50)
    model.begin_training(data)
    expected = torch.from_numpy(50 * data.train_counts / data.train_counts.sum()).float()
    torch.testing.assert_close(model.log_expected.exp(), expected.clamp(min=25 / data.train_counts.sum()))
    drawn = model.negatives(torch.tensor([4, 4, 7]))
    assert set(drawn.tolist()) <= {4, 7}
    loss, _ = model.training_loss(batch((ITEMS, TIMES)))
    assert math.isfinite(loss.item())


def test_with_many_in_batch_negatives_the_loss_is_that_of_the_whole_catalogue() -> None:
    data = split(ragged(30, n_items=9), Protocol())
    model = build(loss="sampled-softmax", sampler="in-batch", negatives=20_000)
    model.begin_training(data)
    drawn = torch.multinomial(model.popularity, 20_000, replacement=True)
    hidden, items, targets = torch.randn(5, 8), model.item_matrix(), torch.tensor([0, 3, 3, 7, 8])
    assert (model.popularity > 0).all()
    sampled = model.catalogue_loss(hidden, targets, items, drawn)
    torch.testing.assert_close(sampled, full_softmax(hidden, items, targets), rtol=0.02, atol=0)
