"""The part of the conformance suite that looks at training: what may be learnt, from what, and whether it repeats."""

import numpy as np
import torch
from torch import Tensor

from cpbench.data import synthetic
from cpbench.data.protocol import Protocol, split
from cpbench.models.base import Histories, NeuralRecommender, Sequences
from cpbench.models.examination import LEARNING_RATE, CheckError, Examination, require, same, scores_of, step
from cpbench.models.sequence import SequenceModel

LARGE_BATCH = 512  # some tens of thousands of numbers to add up: torch then uses all its threads


def check_causality(examination: Examination) -> str | None:
    """The future must not change the past: neither its states nor its loss.

    A model that declares the request time may see, at every row, the time of the next interaction, but neither a later
    time nor the item of a later interaction.
    """
    model = examination.model
    if not isinstance(model, NeuralRecommender):
        return "no training loss: not applicable"
    length = min(model.max_length, 12) + 1
    random = torch.Generator().manual_seed(5)
    items = torch.randint(model.facts.n_items, (4, length), generator=random)
    times = synthetic.START + torch.randint(1, 90_000, (4, length), generator=random).cumsum(1)
    past = length // 2
    changed = items.clone()
    changed[:, past:] = (items[:, past:] + 7) % model.facts.n_items
    whole, cut = torch.full((4,), length), torch.full((4,), past)

    def moved(first: int) -> Tensor:
        later = times.clone()
        later[:, first:] += 1_000_000
        return later

    if isinstance(model, SequenceModel) and length > 2:
        with torch.inference_mode():
            keep = slice(0, min(past, model.max_length))
            first = past + 1 if "request time" in model.information else past
            states = [model.hidden(Sequences(i, t, whole).inputs())[:, keep]
                      for i, t in ((items, times), (changed, moved(first)))]
        # positions may count from the end, so both sequences have the same length
        require(same(*states), "changing the future of a sequence changes the hidden states of its past")
    losses = []
    for i, t in ((items, times), (changed, moved(past))):  # here the future lies where padding would
        torch.manual_seed(5)
        with torch.inference_mode():
            losses.append(model.training_loss(Sequences(i, t, cut))[0])
    require(same(*losses), "what lies beyond a sequence's length changes its training loss")
    return None


def check_leakage(examination: Examination) -> str | None:
    """What nobody can know must not be learnt.

    In random sequences the future is worth something only to a model that sees it: then triples would be learnt
    better than pairs, whose only input has no future. (A loss that sums several horizons may hide it; `causality`
    looks at the states.) A causal model learns both alike, once it has unlearnt where it started: for that, one that
    seems to see more gets ten times the steps. A model that looks both ways may see the answer in a pair already: then
    random pairs would be learnt as well as pairs of one item twice, whose answer stands in the open.
    """
    if not issubclass(examination.model_class, NeuralRecommender):
        return "no training loss: not applicable"
    model = examination.built(examination.random)
    if isinstance(model, NeuralRecommender) and model.max_length < 2:
        return "reads one interaction: not applicable"
    pairs, triples = (_losses(examination, length)[-1] for length in (2, 3))
    if triples <= 0.9 * pairs:
        *_, earlier, pairs = _losses(examination, 2, patience=10)
        triples = _losses(examination, 3, patience=10)[-1]
        if triples <= 0.9 * pairs and pairs < 0.95 * earlier:
            return "the loss on random pairs still falls: whether training sees its targets cannot be told"
    require(triples > 0.9 * pairs, f"on random sequences the loss falls to {triples:.3g}, and without a "
            f"future to look at only to {pairs:.3g}: training sees its targets")
    before, *_, repeated = _losses(examination, 2, repeated=True)
    if repeated > 0.9 * before:
        return "does not learn that an item repeats: whether pairs show their targets cannot be told"
    require(pairs > 1.5 * repeated, f"on random pairs the loss falls to {pairs:.3g}, as if their items repeated "
            f"({repeated:.3g}): training sees its targets")
    return None


def _losses(examination: Examination, length: int, repeated: bool = False, patience: int = 1) -> list[float]:
    """The loss before training on always new random sequences of `length` items, or of one item repeated, and its mean
    over each quarter of the training, whose steps are `patience` times the usual ones."""
    n_items, n_targets = 6, 96
    data = synthetic.from_sequences([[(user + place) % n_items for place in range(5)] for user in range(24)], n_items,
                                    genres=[["only"]] * n_items)
    model = examination.built(data)
    assert isinstance(model, NeuralRecommender)
    model.begin_training(split(data, Protocol()))
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    random = torch.Generator().manual_seed(5)
    n_rows = n_targets // (length - 1)
    lengths = torch.full((n_rows,), length)
    times = (synthetic.START + torch.arange(length) * 100_000).expand(n_rows, length)
    losses = []
    for _ in range(2 * examination.steps * patience):
        items = torch.randint(n_items, (n_rows, length), generator=random)
        losses.append(step(model, Sequences(items[:, :1].expand_as(items) if repeated else items, times, lengths),
                           optimizer))
    return [losses[0], *(float(part.mean()) for part in np.array_split(losses, 4))]


def check_learning(examination: Examination) -> str | None:
    """Even users like even items: what is recommended to a user must have the user's parity.

    Some models (post-norm transformers) learn nothing at a rate that suits most: they get a second, gentler try.
    """
    data = synthetic.checkerboard()
    lists = [data.items[data.offsets[user]:data.offsets[user + 1]].tolist() for user in range(data.n_users)]
    histories = Histories.of_lists(lists)
    for rate in (LEARNING_RATE, LEARNING_RATE / 3):
        model = examination.fitted(data, examination.steps, rate)
        scores = scores_of(model, histories)
        if torch.equal(scores, scores[:1].expand_as(scores)):
            return "every history gets the same scores: not a personal model"
        with torch.inference_mode():
            ids, _ = model.recommend(histories, 3, exclude_seen=True)
        share = (ids % 2 == torch.arange(data.n_users)[:, None] % 2).double().mean().item()
        if share >= 0.9:
            return None
    raise CheckError(f"on the checkerboard only {share:.0%} of the recommended items have the user's parity")


def check_short_sequences(examination: Examination) -> str | None:
    """One input and one target is the shortest sequence that trains."""
    model = examination.built(examination.random)
    if not isinstance(model, NeuralRecommender):
        return "no training loss: not applicable"
    model.begin_training(split(examination.random, Protocol()))
    model.train()
    pairs = Sequences(torch.tensor([[1, 2], [3, 3]]), torch.tensor([[10, 20], [10, 10]]), torch.tensor([2, 2]))
    step(model, pairs, torch.optim.Adam(model.parameters(), 1e-3))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    require(all(bool(torch.isfinite(gradient).all()) for gradient in gradients),
            "the gradient of two one-item histories is not finite")
    return None


def check_repetition(examination: Examination) -> str | None:
    """The gradient of one large batch twice, on two threads: the same bits."""
    model = examination.built(examination.random)
    if not isinstance(model, NeuralRecommender):
        return "no training loss: not applicable"
    model.begin_training(split(examination.random, Protocol()))
    model.train()
    length = min(model.max_length, 50) + 1
    random = torch.Generator().manual_seed(5)
    items = torch.randint(model.facts.n_items, (LARGE_BATCH, length), generator=random)
    times = synthetic.START + torch.randint(1, 90_000, items.shape, generator=random).cumsum(1)
    batch = Sequences(items, times, torch.full((LARGE_BATCH,), length))
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)  # as the training loop does
    try:
        first, *others = (_gradients(model, batch) for _ in range(3))
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
    for other in others:
        odd = [name for name, gradient in first.items() if not torch.equal(gradient, other[name])]
        require(not odd, f"the same batch gives {', '.join(odd)} another gradient: sums on several threads have no "
                "fixed order")
    return None


def _gradients(model: NeuralRecommender, batch: Sequences) -> dict[str, Tensor]:
    torch.manual_seed(5)
    model.zero_grad(set_to_none=True)
    model.training_loss(batch)[0].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
