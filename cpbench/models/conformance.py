"""The conformance suite: what every Recommender must get right before its numbers mean anything.

As scikit-learn's estimator checks do, it needs nothing but the class. Each check is a function of an Examination; it
raises CheckError with one sentence, or returns a remark where it does not apply.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from cpbench.data import synthetic
from cpbench.data.protocol import Protocol, split
from cpbench.errors import UsageError
from cpbench.models.base import Histories, ModelConfig, NeuralRecommender, Recommender, Sequences
from cpbench.models.examination import LEARNING_RATE, CheckError, Examination, require, rows, same, scores_of, step
from cpbench.models.sequence import SequenceModel

INFORMATION = {"user", "times", "request time", "categories", "text", "condition"}
LISTS = [[], [4], [4, 4], [9, 2, 7], list(range(12)), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8] * 2]


class Check(NamedTuple):
    """`message` says in one sentence what is wrong, or why a passed check did not apply."""

    name: str
    ok: bool
    message: str


def check(model_class: type[Recommender], config: ModelConfig | None = None, steps: int = 60) -> list[Check]:
    """Run every check on `model_class` built from `config` (default: its `for_examination`, which is its Config's
    defaults unless it says otherwise).

    `steps`: of gradient descent where a gradient-trained model must show that it learns.
    """
    try:
        examination = Examination(model_class, config or model_class.for_examination(), steps)
    except ValidationError as error:
        return [Check("config", False, f"Config needs values without defaults: {_one_line(error)}")]
    return [_run(name, function, examination) for name, function in CHECKS.items()]


def _run(name: str, function: Callable[[Examination], str | None], examination: Examination) -> Check:
    try:
        return Check(name, True, function(examination) or "")
    except CheckError as failure:
        return Check(name, False, str(failure))
    except Exception as error:  # whatever a third party's model does, the suite goes on
        return Check(name, False, f"{type(error).__name__}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def check_config(examination: Examination) -> None:
    model_class = examination.model_class
    require(isinstance(getattr(model_class, "name", None), str) and bool(model_class.name), "the class has no name")
    require(isinstance(examination.config, ModelConfig), "Config does not derive from cpbench.models.base.ModelConfig")
    try:
        type(examination.config)(**{**examination.config.model_dump(), "no_such_key": 1})
    except ValidationError:
        return
    raise CheckError("Config accepts an unknown key: a mistyped setting would be ignored")


def check_information(examination: Examination) -> None:
    """What is not declared must not change a score, neither in training nor at a request."""
    model, data = examination.model, examination.random
    declared = set(model.information)
    odd = declared - INFORMATION
    require(not odd, f"information declares {sorted(odd)}, known are {sorted(INFORMATION)}")
    histories = Histories.of_lists(LISTS)
    answer = scores_of(model, histories)
    later = replace(histories, request_times=histories.offsets[1:] * 1_000_000)
    if "request time" not in declared:
        require(same(answer, scores_of(model, later)), "scores depend on the request time, which is not declared")
    if "user" not in declared:
        known = replace(histories, users=torch.arange(len(histories)))
        require(same(answer, scores_of(model, known)), "scores depend on the user, which is not declared")
    if "times" not in declared:
        clock = np.arange(data.n_interactions) * 60 + synthetic.START
        stretched = examination.fitted(replace(data, times=clock))
        require(same(answer, scores_of(stretched, replace(histories, times=histories.times * 7))),
                "scores depend on interaction times, which are not declared")
    if "categories" not in declared:
        bare = examination.fitted(replace(data, item_table=data.item_table.select("id", "title")))
        require(same(answer, scores_of(bare, histories)), "scores depend on item attributes, which are not declared")


def check_scores(examination: Examination) -> None:
    """Empty, one-item, repetitive and long histories get finite scores, and are not modified."""
    model = examination.model
    longer = 3 * model.max_length if isinstance(model, NeuralRecommender) else 300
    histories = Histories.of_lists([*LISTS, [item % 27 for item in range(longer)]])
    before = histories.items.clone(), histories.times.clone()
    scores_of(model, histories)
    require(torch.equal(before[0], histories.items) and torch.equal(before[1], histories.times),
            "score modifies the histories it was given")
    scores_of(model, Histories.of_lists([[]]))


def check_recommend(examination: Examination) -> None:
    """Distinct ids of the catalogue, best first, with the scores that `score` gives them; seen items last.

    A model with a beam promises lists no longer than that, and no best item unless the beam holds the catalogue.
    """
    model, histories = examination.model, Histories.of_lists(LISTS)
    n_items = model.facts.n_items
    longest = n_items if model.beam is None else min(model.beam, n_items)
    scores, seen = scores_of(model, histories), histories.seen(n_items)
    for exclude_seen in (False, True):
        for k in sorted({1, min(5, longest), longest}):
            with torch.inference_mode():
                ids, values = model.recommend(histories, k, exclude_seen=exclude_seen)
            require(tuple(ids.shape) == tuple(values.shape) == (len(histories), k),
                    f"recommend gave shapes {tuple(ids.shape)} and {tuple(values.shape)} for k = {k}")
            require(bool(((ids >= 0) & (ids < n_items)).all()), "recommend gives ids outside the catalogue")
            require(all(len(set(row)) == k for row in ids.tolist()), "recommend gives an item twice in one list")
            require(bool((values[:, 1:] <= values[:, :-1]).all()), "recommend does not give the best item first")
            hidden = seen.gather(1, ids) if exclude_seen else torch.zeros_like(ids, dtype=torch.bool)
            require(not bool((hidden & torch.isfinite(values)).any()), "exclude_seen is not honoured")
            require(same(values[~hidden], scores.gather(1, ids)[~hidden]), "recommend and score disagree")
            if longest == n_items:
                best = scores.masked_fill(seen, -torch.inf) if exclude_seen else scores
                require(same(best.max(1).values, values[:, 0]), "recommend misses the item with the best score")
    limit = "the catalogue" if longest == n_items else "the beam"
    try:
        model.recommend(histories, longest + 1)
    except UsageError:
        return
    raise CheckError(f"recommend accepts a k larger than {limit} instead of raising UsageError")


def check_determinism(examination: Examination) -> None:
    histories = Histories.of_lists(LISTS)
    first = scores_of(examination.model, histories)
    require(torch.equal(first, scores_of(examination.model, histories)),
            "scoring the same histories twice gives different scores")
    require(torch.equal(first, scores_of(examination.fitted(examination.random), histories)),
            "fitting twice with the same seed gives different scores")


def check_batches(examination: Examination) -> None:
    """A score depends on its own history and request only: alone, beside a longer one, in any order."""
    model, histories = examination.model, Histories.of_lists(LISTS)
    histories = replace(histories, request_times=histories.offsets[1:] * 1_000_000)
    together = scores_of(model, histories)
    backwards = list(reversed(range(len(histories))))
    require(same(together[backwards], scores_of(model, rows(histories, backwards))),
            "the order of the histories in a batch changes their scores")
    for row, history in enumerate(LISTS):
        alone = scores_of(model, rows(histories, [row]))
        require(same(alone, together[row:row + 1]), f"a history of {len(history)} items gets other scores beside "
                "longer ones than alone (padding or batch statistics leak in)")


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
    looks at the states.) A causal model's ratio is 1.00 +- 0.01. A model that looks both ways may see the answer in a
    pair already: then random pairs would be learnt as well as pairs of one item twice, whose answer stands in the open.
    """
    if not issubclass(examination.model_class, NeuralRecommender):
        return "no training loss: not applicable"
    model = examination.built(examination.random)
    if isinstance(model, NeuralRecommender) and model.max_length < 2:
        return "reads one interaction: not applicable"
    pairs, triples = (_losses(examination, length)[1] for length in (2, 3))
    require(triples > 0.9 * pairs, f"on random sequences the loss falls to {triples:.3g}, and without a "
            f"future to look at only to {pairs:.3g}: training sees its targets")
    before, repeated = _losses(examination, 2, repeated=True)
    if repeated > 0.9 * before:
        return "does not learn that an item repeats: whether pairs show their targets cannot be told"
    require(pairs > 1.5 * repeated, f"on random pairs the loss falls to {pairs:.3g}, as if their items repeated "
            f"({repeated:.3g}): training sees its targets")
    return None


def _losses(examination: Examination, length: int, repeated: bool = False) -> tuple[float, float]:
    """The loss before and after training on always new random sequences of `length` items, or of one item repeated."""
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
    for _ in range(2 * examination.steps):
        items = torch.randint(n_items, (n_rows, length), generator=random)
        losses.append(step(model, Sequences(items[:, :1].expand_as(items) if repeated else items, times, lengths),
                           optimizer))
    return losses[0], float(np.mean(losses[-len(losses) // 4:]))


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


def check_saving(examination: Examination) -> None:
    model, histories = examination.model, Histories.of_lists(LISTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        model.save(folder)
        for path in sorted(folder.rglob("*")):
            require(path.is_dir() or path.suffix in (".safetensors", ".json"),
                    f"save writes {path.name}: only .safetensors and .json are data and never code")
        loaded = examination.model_class.load(folder)
        if isinstance(loaded, NeuralRecommender):
            loaded.eval()
        require(loaded.config == model.config, "the loaded model has another configuration")
        require(torch.equal(scores_of(model, histories), scores_of(loaded, histories)),
                "the loaded model gives other scores than the saved one")


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


def check_small_catalogues(examination: Examination) -> None:
    for n_items in (1, 3):
        sequences = [[(user + step) % n_items for step in range(5)] for user in range(4)]
        genres = [["only"] for _ in range(n_items)]
        model = examination.fitted(synthetic.from_sequences(sequences, n_items, genres=genres))
        histories = Histories.of_lists([[], [0], [0] * 4])
        scores_of(model, histories)
        longest = n_items if model.beam is None else min(model.beam, n_items)
        ids, _ = model.recommend(histories, longest, exclude_seen=True)
        require(tuple(ids.shape) == (3, longest), f"a catalogue of {n_items} gives lists of shape {tuple(ids.shape)}")


def check_parameters(examination: Examination) -> None:
    count = examination.model.n_parameters
    require(isinstance(count, int) and count > 0, f"n_parameters is {count!r}, expected a positive int")


CHECKS: dict[str, Callable[[Examination], str | None]] = {
    "config": check_config,
    "information": check_information,
    "scores": check_scores,
    "recommend": check_recommend,
    "determinism": check_determinism,
    "batches": check_batches,
    "causality": check_causality,
    "leakage": check_leakage,
    "learning": check_learning,
    "saving": check_saving,
    "short sequences": check_short_sequences,
    "small catalogues": check_small_catalogues,
    "parameters": check_parameters,
}
