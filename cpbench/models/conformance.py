"""The conformance suite: what every Recommender must get right before its numbers mean anything.

As scikit-learn's estimator checks do, it needs nothing but the class. Each check is a function of an Examination; it
raises CheckError with one sentence, or returns a remark where it does not apply.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from pydantic import ValidationError

from cpbench.data import synthetic
from cpbench.data.protocol import Protocol, split
from cpbench.errors import UsageError
from cpbench.models.base import Histories, ModelConfig, NeuralRecommender, Recommender
from cpbench.models.conformance_training import (
    check_causality,
    check_leakage,
    check_learning,
    check_repetition,
    check_short_sequences,
)
from cpbench.models.examination import CheckError, Examination, require, rows, same, scores_of
from cpbench.training.config import TrainingConfig

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
    except Exception as error:  # a Config of any kind
        return [Check("config", False, f"Config needs values without defaults: {_one_line(error)}")]
    return [_run(name, function, examination) for name, function in CHECKS.items()]


def _run(name: str, function: Callable[[Examination], str | None], examination: Examination) -> Check:
    try:
        return Check(name, True, function(examination) or "")
    except CheckError as failure:
        return Check(name, False, str(failure))
    except (Exception, SystemExit) as error:  # whatever a third party's model does, the suite goes on
        return Check(name, False, f"{type(error).__name__}: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def check_config(examination: Examination) -> None:
    model_class = examination.model_class
    name = getattr(model_class, "name", None)
    if not isinstance(name, str) or not name:
        raise CheckError("the class has no name")
    require(PurePath(name).name == name and name.isprintable(), f"the name {name!r} cannot be that of a file")
    require(isinstance(examination.config, ModelConfig), "Config does not derive from cpbench.models.base.ModelConfig")
    own = set(type(examination.config).model_fields)
    if issubclass(model_class, NeuralRecommender):
        taken = sorted(own & set(TrainingConfig.model_fields))
        require(not taken, f"Config has keys that are settings of the training loop: {', '.join(taken)}")
    try:
        type(examination.config)(**{**examination.config.model_dump(), "no_such_key": 1})
    except ValidationError:
        return
    raise CheckError("Config accepts an unknown key: a mistyped setting would be ignored")


def check_information(examination: Examination) -> None:
    """What is not declared must not change a score, neither in training nor at a request."""
    model, data = examination.model, examination.random
    require(isinstance(model.information, list), "information must be a property that gives a list of words")
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
    table = data.item_table
    if "categories" not in declared:
        more = {"released": pl.lit(synthetic.START), "price": pl.int_range(pl.len()).cast(pl.Float64)}
        for columns in (table.select("id", "title"), table.with_columns(**more)):
            other = scores_of(examination.fitted(replace(data, item_table=columns)), histories)
            require(same(answer, other), "scores depend on item attributes, which are not declared")
    if "text" not in declared:
        renamed = examination.fitted(replace(data, item_table=table.with_columns(title=pl.lit("another title"))))
        require(same(answer, scores_of(renamed, histories)), "scores depend on titles: text, which is not declared")


def check_held_out(examination: Examination) -> None:
    """Nothing but the training part of a split may be learnt from, whether by counting or by gradients.

    A `fit` that learns in epochs may choose one of them by validation.
    """
    data, histories = examination.random, Histories.of_lists(LISTS)
    answer, part = scores_of(examination.model, histories), split(data, Protocol())
    held_out = ~part.train_mask()
    if examination.in_epochs:
        held_out[part.valid.target] = False
    changed = replace(data, items=np.where(held_out, (data.items + 7) % 27, data.items).astype(data.items.dtype),
                      times=data.times + 1_000_000 * held_out)
    require(same(answer, scores_of(examination.fitted(changed), histories)),
            "scores depend on validation or test interactions: only those of `train_mask()` may be learnt from")


def check_scores(examination: Examination) -> None:
    """Empty, one-item, repetitive and long histories get finite scores, and are not modified."""
    model = examination.model
    longer = 3 * model.max_length if isinstance(model, NeuralRecommender) else 300
    histories = Histories.of_lists([*LISTS, [item % 27 for item in range(longer)]])
    histories = replace(histories, request_times=histories.offsets[1:] * 1_000_000, users=torch.arange(len(histories)))
    given = [value for value in vars(histories).values() if value is not None]
    before = [value.clone() for value in given]
    scores_of(model, histories)
    require(all(map(torch.equal, before, given)), "score modifies the histories it was given")
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
    if not examination.model_class.seeded:
        other = replace(examination, seed=examination.seed + 1)
        require(torch.equal(first, scores_of(other.fitted(examination.random), histories)),
                "another seed gives other scores, which the class does not declare: seeded = True")


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
    "held out": check_held_out,
    "scores": check_scores,
    "recommend": check_recommend,
    "determinism": check_determinism,
    "batches": check_batches,
    "causality": check_causality,
    "leakage": check_leakage,
    "learning": check_learning,
    "saving": check_saving,
    "short sequences": check_short_sequences,
    "repetition": check_repetition,
    "small catalogues": check_small_catalogues,
    "parameters": check_parameters,
}
