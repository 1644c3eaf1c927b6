"""What an instruction costs at serving (the paper: 7.26 ms against 6.94 ms), as ratios measured in one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from cpbench.climber_pilot.conditioning import METHODS
from cpbench.climber_pilot.instructed import InstructedPilot, InstructedPilotConfig
from cpbench.climber_pilot.model import ClimberPilotConfig
from cpbench.data.dataset import Attribute
from cpbench.models.base import Facts, Sequences

CONDITIONS = 8
GENRES = 20


@dataclass(frozen=True)
class Workload:
    """A batch of users with full histories, and a model of the paper's industrial size; weights are random."""

    users: int = 32
    length: int = 100
    width: int = 128
    items: int = 50_000
    repeats: int = 30
    method: str = "cgsa"


def measure(workload: Workload, seed: int = 1) -> dict[str, float]:
    """Milliseconds a batch (medians of interleaved repeats): queries without, with one and with eight conditions, and
    the exact search for one and for eight; and the two ratios of the queries.
    """
    assert workload.method in METHODS
    torch.manual_seed(seed)
    genre = Attribute([f"genre {number}" for number in range(GENRES)],
                      np.random.default_rng(seed).integers(0, GENRES, workload.items).astype(np.int32),
                      np.arange(workload.items + 1))
    pilot = ClimberPilotConfig(length=workload.length, width=workload.width, layers=3, branches=2, heads=4,
                               category_width=16, dropout=0.0)
    settings = {"pilot": pilot, "condition": "genre", "method": workload.method}
    model = InstructedPilot(InstructedPilotConfig.model_validate(settings), Facts(workload.items, {"genre": genre}))
    model.eval()
    shape = (workload.users, workload.length)
    batch = Sequences(torch.randint(workload.items, shape), torch.arange(workload.length).expand(shape) * 300,
                      torch.full((workload.users,), workload.length))
    eight = torch.stack([torch.randperm(GENRES)[:CONDITIONS] for _ in range(workload.users)])
    times = torch.zeros_like(eight)
    with torch.inference_mode():
        vectors = model.item_matrix()
        plain, queries = model.queries(batch), model.instructed_queries(batch, eight, times)
        work: dict[str, Callable[[], object]] = {
            "plain_ms": lambda: model.queries(batch, vectors),
            "one_condition_ms": lambda: model.instructed_queries(batch, eight[:, :1], times[:, :1], vectors),
            "eight_conditions_ms": lambda: model.instructed_queries(batch, eight, times, vectors),
            "search_one_ms": lambda: (plain @ vectors.T).topk(50, dim=-1),
            "search_eight_ms": lambda: (queries @ vectors.T).topk(50, dim=-1),
        }
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for repeat in range(workload.repeats + 3):
            for name, task in work.items():  # interleaved: a busy moment of the machine hits all of them
                begun = time.perf_counter()
                task()
                if repeat >= 3:  # the first ones warm up
                    seconds[name].append(time.perf_counter() - begun)
    result = {name: 1000 * median(taken) for name, taken in seconds.items()}
    pairs = [[a / b for a, b in zip(seconds[top], seconds[bottom], strict=True)] for top, bottom in
             (("one_condition_ms", "plain_ms"), ("eight_conditions_ms", "one_condition_ms"))]
    result["one_condition_over_plain"], result["eight_conditions_over_one"] = (median(pair) for pair in pairs)
    return result
