"""Evaluate a model on the events of a split: exact ranks, metrics, and what the lists look like."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from cpbench.data.protocol import Events, Split
from cpbench.errors import CpbenchError
from cpbench.evaluation import conditional
from cpbench.evaluation.conditional import Given
from cpbench.evaluation.metrics import accuracy, by_activity, horizon, list_metrics
from cpbench.evaluation.ranking import ranks_of
from cpbench.models.base import Histories, Recommender

BLOCK_BYTES = 32 << 20  # of scores held at once; larger blocks are not faster
LIST_LENGTH = 10  # of the lists behind coverage, novelty, gini and diversity


@dataclass(frozen=True)
class Evaluation:
    """ranks float64 [E] in the order of the events; metrics by name; facts about the events; seconds taken.

    Under a protocol with a horizon, `steps` float64 [E, H] holds the ranks of the next H items in the same list.
    """

    ranks: np.ndarray
    metrics: dict[str, float]
    notes: dict[str, float]
    seconds: float
    steps: np.ndarray | None = None


def evaluate(model: Recommender, split: Split, events: Events, block: int | None = None,
             only_accuracy: bool = False, given: Given | None = None) -> Evaluation:
    """Rank the whole catalogue at every event, under the split's protocol (design: docs/protocol.md).

    `given` holds the conditions of the events, if there are any. Events are visited by history length, so that blocks
    need little padding; the result does not depend on `block` (events scored at once). `only_accuracy` looks at the
    next item alone (what follows a validation event is test). Raises CpbenchError on NaN scores.
    """
    started = time.perf_counter()
    n_items, n_steps = split.dataset.n_items, 1 if only_accuracy else split.protocol.horizon
    block = block or max(1, min(256, BLOCK_BYTES // (4 * n_items)))
    order = np.argsort(events.end - events.start, kind="stable")
    visits = Events(events.users[order], events.start[order], events.end[order], events.target[order])
    ranks = np.empty((len(events), n_steps))
    longest = LIST_LENGTH if given is None else max(conditional.CUTOFFS)
    lists = np.empty((len(events), min(longest, n_items)), dtype=np.int64)
    matches = np.zeros(lists.shape, dtype=bool)
    was_training = isinstance(model, torch.nn.Module) and model.training
    if isinstance(model, torch.nn.Module):
        model.eval()
    with torch.inference_mode():
        for first in range(0, len(events), block):
            last = min(first + block, len(events))
            places = order[first:last]
            histories = Histories.of_events(split.dataset, visits, first, last)
            excluded = histories.seen(n_items) if split.protocol.exclude_seen else None
            if given is None:
                scores = model.score(histories).cpu()
            else:
                scores, excluded = given.retrieve(model, histories, places, excluded)
            if scores.shape != (last - first, n_items):
                raise CpbenchError(f"{model.name}.score gave shape {tuple(scores.shape)}, "
                                   f"expected {(last - first, n_items)}")
            for step in range(n_steps):
                targets = torch.from_numpy(split.dataset.items[visits.target[first:last] + step].astype(np.int64))
                ranks[places, step] = ranks_of(scores, targets, excluded).numpy()
            if not only_accuracy:
                shown = scores if excluded is None else scores.masked_fill(excluded, -torch.inf)
                top = shown.topk(lists.shape[1], dim=1)
                lists[places] = top.indices.numpy()
                if given is not None:
                    carried = given.carriers(histories, places).gather(1, top.indices)
                    matches[places] = (carried & ~torch.isneginf(top.values)).numpy()
    if isinstance(model, torch.nn.Module):
        model.train(was_training)
    metrics = accuracy(ranks[:, 0])
    if n_steps > 1:
        metrics |= horizon(ranks)
    if not only_accuracy:
        activity = (split.train_end - split.dataset.offsets[:-1])[events.users]
        metrics |= by_activity(ranks[:, 0], activity)
        metrics |= list_metrics(lists[:, :LIST_LENGTH], split.train_counts, _membership(split))
        if given is not None:
            metrics |= conditional.consistency(matches)
    return Evaluation(ranks[:, 0], metrics, {} if only_accuracy else split.notes(events),
                      time.perf_counter() - started, ranks if n_steps > 1 else None)


def _membership(split: Split) -> np.ndarray | None:
    """The attribute that diversity is measured on: genre, else category, else the first there is."""
    names = split.dataset.attribute_names
    for name in ("genre", "category", *names):
        if name in names:
            return split.dataset.attribute(name).matrix()
    return None
