"""General recommendation through precomputed instructions: P lists, one for each frequent value, merged into one.

The paper's online test (Tables 5 and 6) serves such lists; here they are scored on the test events, and their diversity
is measured by how active the user is.
"""

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from cpbench.climber_pilot.instructed import InstructedPilot
from cpbench.climber_pilot.serving import filled, instructions, recommend_given, union
from cpbench.data.protocol import Events, Split
from cpbench.evaluation.metrics import accuracy, by_activity, diversity
from cpbench.models.base import Histories, best

LENGTH = 50
BLOCK = 128


def evaluate_instructions(model: InstructedPilot, split: Split, events: Events, count: int
                          ) -> tuple[np.ndarray, dict[str, float]]:
    """Ranks float64 [E] in lists of 50 (infinity: not in it) and metrics, with `count` instructions; 0 uses none.

    Diversity is a mean over the lists whose first ten places hold an item.
    """
    lists = np.concatenate([_lists(model, split, events, first, count).numpy()
                            for first in range(0, len(events), BLOCK)])
    found = lists == split.dataset.items[events.target][:, None]
    ranks = np.where(found.any(1), found.argmax(1) + 1.0, np.inf)
    activity = (split.train_end - split.dataset.offsets[:-1])[events.users]
    metrics = accuracy(ranks, beam=lists.shape[1]) | by_activity(ranks, activity)
    if not model.conditions.by_age:  # an item's age is no fixed property of it
        whole = np.flatnonzero((lists[:, :10] >= 0).all(1))
        membership = csr_array(model.conditions.member.cpu().numpy(), dtype=np.float32)
        spread = diversity(lists[whole, :10], membership)
        metrics["diversity@10"] = float(spread.mean()) if len(whole) else float("nan")
        order = np.argsort(activity[whole], kind="stable")
        for level, part in zip(("low", "middle", "high"), np.array_split(order, 3), strict=True):
            metrics[f"diversity@10/{level}"] = float(spread[part].mean()) if len(part) else float("nan")
    return ranks, metrics


def _lists(model: InstructedPilot, split: Split, events: Events, first: int, count: int) -> Tensor:
    histories = Histories.of_events(split.dataset, events, first, min(first + BLOCK, len(events)))
    length = min(LENGTH, split.dataset.n_items)
    excluded = histories.seen(split.dataset.n_items) if split.protocol.exclude_seen else None
    model.eval()
    with torch.inference_mode():
        scores = model.score(histories).cpu()
    plain, values = best(scores, length, excluded)
    plain[torch.isneginf(values)] = -1  # fewer may be shown
    if count == 0:
        return plain
    asked = instructions(model.conditions, histories, count)
    ids, given = recommend_given(model, histories, asked, length, excluded)
    return filled(union(ids, given, length), plain)
