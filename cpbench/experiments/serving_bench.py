"""What an instruction costs at serving (the paper: 7.26 ms against 6.94 ms), as ratios measured in one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cpbench.climber_pilot.conditioning import METHODS
from cpbench.climber_pilot.instructed import InstructedPilot, InstructedPilotConfig
from cpbench.climber_pilot.model import ClimberPilotConfig
from cpbench.climber_pilot.serving import HnswIndex, instructions, recent_times
from cpbench.data.dataset import Attribute
from cpbench.errors import UsageError
from cpbench.experiments.stored import StoredRun
from cpbench.models.base import Facts, Histories, Sequences

CONDITIONS = 8
GENRES = 20
LIST_LENGTH = 50


@dataclass(frozen=True)
class Workload:
    """A batch of users with full histories, and a model of the paper's industrial size; weights are random."""

    users: int = 32
    length: int = 100
    width: int = 128
    items: int = 50_000
    method: str = "cgsa"


class ServingLoad(NamedTuple):
    """What is timed: a model, a batch of users, and eight conditions for each of them, int64 [B, 8]."""

    model: InstructedPilot
    batch: Sequences
    values: Tensor
    times: Tensor


def made_up(workload: Workload) -> ServingLoad:
    """Random weights, items and conditions: what time costs does not depend on them."""
    assert workload.method in METHODS
    torch.manual_seed(1)
    genre = Attribute([f"genre {number}" for number in range(GENRES)],
                      np.random.default_rng(1).integers(0, GENRES, workload.items).astype(np.int32),
                      np.arange(workload.items + 1))
    pilot = ClimberPilotConfig(length=workload.length, width=workload.width, layers=3, branches=2, heads=4,
                               category_width=16, dropout=0.0)
    settings = {"pilot": pilot, "condition": "genre", "method": workload.method}
    model = InstructedPilot(InstructedPilotConfig.model_validate(settings), Facts(workload.items, {"genre": genre}))
    shape = (workload.users, workload.length)
    batch = Sequences(torch.randint(workload.items, shape), torch.arange(workload.length).expand(shape) * 300,
                      torch.full((workload.users,), workload.length))
    values = torch.stack([torch.randperm(GENRES)[:CONDITIONS] for _ in range(workload.users)])
    return ServingLoad(model, batch, values, torch.zeros_like(values))


def of_run(stored: StoredRun, users: int) -> ServingLoad:
    """A recorded run with a condition, its first `users` test events, and their eight most frequent values.

    Raises UsageError for a run without a condition, or fewer than eight values.
    """
    model = stored.model
    if not isinstance(model, InstructedPilot):
        raise UsageError(f"{stored.folder} was not trained for a condition: make one with cpbench run --condition")
    if len(model.conditions) < CONDITIONS:
        raise UsageError(f"{model.conditions.name} has {len(model.conditions)} values; the measurement takes "
                         f"{CONDITIONS} conditions a user")
    histories = Histories.of_events(stored.split.dataset, stored.split.test, 0, users)
    values = instructions(model.conditions, histories, CONDITIONS).values
    times = recent_times(histories)[:, None].expand_as(values)
    return ServingLoad(model, histories.padded(model.max_length), values, times)


def measure(served: ServingLoad, repeats: int, index: bool = False) -> dict[str, float]:
    """Milliseconds a batch (medians of interleaved repeats): queries without, with one and with eight conditions, and
    the search for one list and for eight; and the two ratios of the queries.

    `index` also searches approximately (faiss HNSW), and gives its recall of the exact lists.
    """
    model, batch, eight, times = served
    model.eval()
    with torch.inference_mode():
        vectors = model.item_matrix()
        length = min(LIST_LENGTH, len(vectors))
        plain, queries = model.queries(batch)[:, None], model.instructed_queries(batch, eight, times)
        work: dict[str, Callable[[], object]] = {
            "plain_ms": lambda: model.queries(batch, vectors),
            "one_condition_ms": lambda: model.instructed_queries(batch, eight[:, :1], times[:, :1], vectors),
            "eight_conditions_ms": lambda: model.instructed_queries(batch, eight, times, vectors),
            "search_one_ms": lambda: (plain @ vectors.T).topk(length, dim=-1),
            "search_eight_ms": lambda: (queries @ vectors.T).topk(length, dim=-1),
        }
        recall = {}
        if index:
            hnsw = HnswIndex(vectors)
            work |= {"hnsw_one_ms": lambda: hnsw.search(plain, length),
                     "hnsw_eight_ms": lambda: hnsw.search(queries, length)}
            exact, found = (queries @ vectors.T).topk(length, dim=-1).indices, hnsw.search(queries, length)[0]
            recall["hnsw_recall"] = float((exact[..., None] == found[..., None, :]).any(-1).double().mean())
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for repeat in range(repeats + 3):
            for name, task in work.items():  # interleaved: a busy moment of the machine hits all of them
                begun = time.perf_counter()
                task()
                if repeat >= 3:  # the first ones warm up
                    seconds[name].append(time.perf_counter() - begun)
    result = {name: 1000 * median(taken) for name, taken in seconds.items()}
    pairs = [[a / b for a, b in zip(seconds[top], seconds[bottom], strict=True)] for top, bottom in
             (("one_condition_ms", "plain_ms"), ("eight_conditions_ms", "one_condition_ms"))]
    result["one_condition_over_plain"], result["eight_conditions_over_one"] = (median(pair) for pair in pairs)
    return result | recall
