"""Evaluate a model on the events of a split: exact ranks, metrics, and what the lists look like."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from cpbench.data.dataset import usual_attribute
from cpbench.data.protocol import Events, Split
from cpbench.errors import CpbenchError
from cpbench.evaluation import conditional
from cpbench.evaluation.conditional import Given
from cpbench.evaluation.metrics import accuracy, by_activity, by_popularity, horizon, list_metrics
from cpbench.evaluation.ranking import ranks_in, ranks_of
from cpbench.models.base import Histories, Recommender, best

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BLOCK_BYTES = 32 << 20  # of scores held at once; larger blocks are not faster
LIST_LENGTH = 10  # of the lists behind coverage, novelty, gini and diversity


def scored_at_once(n_items: int) -> int:
    """How many histories are scored at once."""
    return max(1, min(256, BLOCK_BYTES // (4 * n_items)))


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

    @property
    def all_ranks(self) -> np.ndarray:
        """`steps` where there are any, else `ranks`: the evidence that is stored."""
        return self.ranks if self.steps is None else self.steps


def evaluate(model: Recommender, split: Split, events: Events, block: int | None = None,
             only_accuracy: bool = False, given: Given | None = None) -> Evaluation:
    """Rank the whole catalogue at every event, under the split's protocol (design: docs/protocol.md).

    A model with a `beam` is ranked by the lists that it generates: a target outside them is a miss, cut-offs beyond the
    beam and MRR are absent, and the notes say how wide it was.

    `given` holds the conditions of the events, if there are any. Events are visited by history length, so that blocks
    need little padding; the result does not depend on `block` (events scored at once). `only_accuracy` looks at the
    next item alone (what follows a validation event is test). Raises CpbenchError on NaN scores, and for a model that
    was built for another catalogue.
    """
    started = time.perf_counter()
    if model.facts.n_items != split.dataset.n_items:
        raise CpbenchError(f"the model was built for {model.facts.n_items} items, {split.dataset.name!r} has "
                           f"{split.dataset.n_items}")
    n_items, n_steps = split.dataset.n_items, 1 if only_accuracy else split.protocol.horizon
    block = block or scored_at_once(n_items)
    order = np.argsort(events.end - events.start, kind="stable")
    visits = Events(events.users[order], events.start[order], events.end[order], events.target[order])
    ranks = np.empty((len(events), n_steps))
    beam = None if model.beam is None or model.beam >= n_items else model.beam
    longest = LIST_LENGTH if given is None else max(conditional.CUTOFFS)
    lists = np.empty((len(events), min(longest, n_items, beam or n_items)), dtype=np.int64)
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
            targets = torch.from_numpy(np.stack([split.dataset.items[visits.target[first:last] + step]
                                                 for step in range(n_steps)], 1).astype(np.int64))
            if model.beam is None:
                found, top = _rank(model, histories, targets, excluded, given, places, lists.shape[1])
            else:
                found, top = _generate(model, histories, targets, excluded, given, places)
            ranks[places] = found.cpu().numpy()
            if not only_accuracy:
                shown, values = (part[:, :lists.shape[1]].cpu() for part in top())
                hidden = torch.isneginf(values)  # too few may be shown: a place without an item
                lists[places] = shown.masked_fill(hidden, -1).numpy()
                if given is not None:
                    matches[places] = (given.carriers(histories, places).gather(1, shown) & ~hidden).numpy()
    if isinstance(model, torch.nn.Module):
        model.train(was_training)
    metrics = metrics_of(split, events, ranks, beam, None if only_accuracy else lists[:, :LIST_LENGTH])
    if given is not None and not only_accuracy:
        metrics |= conditional.consistency(matches)
    notes = {} if only_accuracy else split.notes(events) | ({} if beam is None else {"beam": beam})
    return Evaluation(ranks[:, 0], metrics, notes,
                      time.perf_counter() - started, ranks if n_steps > 1 else None)


def metrics_of(split: Split, events: Events, ranks: np.ndarray, beam: int | None = None,
               lists: np.ndarray | None = None) -> dict[str, float]:
    """All metrics by name, whoever made the ranks float64 [E, H] (H steps of the horizon).

    `beam`: ranks beyond it are unknown. `lists` int64 [E, K <= 10], best first, -1 where a place holds no item of the
    catalogue; None: accuracy alone.
    """
    metrics = accuracy(ranks[:, 0], beam)
    if ranks.shape[1] > 1:
        metrics |= horizon(ranks, beam=beam)
    if lists is not None:
        activity = (split.train_end - split.dataset.offsets[:-1])[events.users]
        if beam is None or beam >= LIST_LENGTH:
            metrics |= by_activity(ranks[:, 0], activity)
            metrics |= by_popularity(ranks[:, 0], split.train_counts[split.dataset.items[events.target]])
        metrics |= list_metrics(lists, split.train_counts, _membership(split))
    return metrics


Top = Callable[[], tuple[torch.Tensor, torch.Tensor]]
"""The lists and their scores, int64 and float32 [B, K]: made only where somebody looks at them."""


def _rank(model: Recommender, histories: Histories, targets: torch.Tensor, excluded: torch.Tensor | None,
          given: Given | None, places: np.ndarray, k: int) -> tuple[torch.Tensor, Top]:
    """Ranks float64 [B, H] of the targets int64 [B, H] among all items, and the lists of k."""
    if given is None:
        scores = model.score(histories)
    else:
        scores, excluded = given.retrieve(model, histories, places, excluded)
    targets = targets.to(scores.device)  # a catalogue of scores is ranked where it is
    excluded = None if excluded is None else excluded.to(scores.device)
    if scores.shape != (len(histories), model.facts.n_items):
        raise CpbenchError(f"{model.name}.score gave shape {tuple(scores.shape)}, "
                           f"expected {(len(histories), model.facts.n_items)}")
    ranks = torch.stack([ranks_of(scores, step, excluded) for step in targets.T], 1)

    return ranks, lambda: best(scores, k, excluded)


def _generate(model: Recommender, histories: Histories, targets: torch.Tensor, excluded: torch.Tensor | None,
              given: Given | None, places: np.ndarray) -> tuple[torch.Tensor, Top]:
    """The same of a model with a beam: ranks within its lists, infinity for what is not in them."""
    assert model.beam is not None
    k = min(model.beam, model.facts.n_items)
    if given is None:
        ids, scores = model.search(histories, k, excluded)
    else:
        ids, scores = given.generate(model, histories, k, places, excluded)
    return torch.stack([ranks_in(ids, scores, step) for step in targets.T], 1), lambda: (ids, scores)


def _membership(split: Split) -> "csr_array | None":
    """Which values each item has of the attribute that diversity is measured on, float32 [N, V]; None without one."""
    name = usual_attribute(split.dataset.attribute_names)
    return None if name is None else split.dataset.attribute(name).sparse()
