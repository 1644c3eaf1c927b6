"""What the choices inside HSTU cost: python tests/bench/hstu_parts.py prints milliseconds of one processor.

Each figure is the best of five forward and backward passes of that part alone.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from cpbench.baselines.hstu import HSTU, HSTUConfig, RelativeBias, pointwise_attention

from cpbench.models.base import Facts, Sequences
from cpbench.models.layers import TIME_BUCKETS, time_buckets
from cpbench.models.losses import full_softmax, sampled_softmax
from cpbench.training import allocator

USERS, LENGTH, WIDTH = 128, 200, 50
ML_1M_TARGETS = 647_430  # of an epoch at length 200, leave-one-out


def milliseconds(run: Callable[[], torch.Tensor]) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        run().sum().backward()
        best = min(best, 1000 * (time.process_time() - started))
    return best


def gathered(hidden: torch.Tensor, items: torch.Tensor, targets: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """The textbook form of a softmax over negatives of each target."""
    logits = torch.einsum("td,tsd->ts", hidden, items[negatives]).masked_fill(negatives == targets[:, None], -torch.inf)
    return F.cross_entropy(torch.cat([(hidden * items[targets]).sum(1, keepdim=True), logits], 1), targets * 0)


def attention() -> None:
    times = torch.randint(0, 90_000, (USERS, LENGTH)).cumsum(1)
    gaps = time_buckets(times[:, :, None] - times[:, None, :])
    query, key, value = (torch.randn(USERS, 1, LENGTH, WIDTH, requires_grad=True) for _ in range(3))
    bias, table = RelativeBias(LENGTH, True), torch.nn.Embedding(TIME_BUCKETS, 1)
    mask = torch.ones(LENGTH, LENGTH).tril()
    position = torch.arange(LENGTH)
    distance = (position[:, None] - position).clamp(min=0)

    def textbook() -> torch.Tensor:
        own = bias.by_distance[distance] + table(gaps)[..., 0]
        return F.silu(query @ key.transpose(-1, -2) + own[:, None]) / LENGTH * mask @ value

    print(f"buckets of all pairs (once a batch)        {milliseconds_of_buckets(times):7.0f}")
    print(f"attention, time bias from nn.Embedding     {milliseconds(textbook):7.0f}")
    print(f"attention as it is, bias included          "
          f"{milliseconds(lambda: pointwise_attention(query, key, value, bias(gaps), LENGTH)):7.0f}")
    constant = bias(gaps).detach()
    print(f"the same with a bias that does not learn   "
          f"{milliseconds(lambda: pointwise_attention(query, key, value, constant, LENGTH)):7.0f}")


def milliseconds_of_buckets(times: torch.Tensor) -> float:
    started = time.process_time()
    for _ in range(5):
        time_buckets(times[:, :, None] - times[:, None, :])
    return 200 * (time.process_time() - started)


def losses(n_items: int, targets_per_batch: int = 4096, count: int = 128) -> None:
    hidden = torch.randn(targets_per_batch, WIDTH, requires_grad=True)
    items = torch.randn(n_items, WIDTH, requires_grad=True)
    targets = torch.randint(n_items, (targets_per_batch,))
    own, shared = torch.randint(n_items, (targets_per_batch, count)), torch.randint(n_items, (count,))
    for name, run in (("full softmax", lambda: full_softmax(hidden, items, targets)),
                      ("128 negatives a target, gathered", lambda: gathered(hidden, items, targets, own)),
                      ("128 negatives a target, as it is", lambda: sampled_softmax(hidden, items, targets, own)),
                      ("128 shared negatives", lambda: sampled_softmax(hidden, items, targets, shared))):
        print(f"{n_items:6} items, {name:35} {milliseconds(run):7.0f}")


def steps() -> None:
    """Training steps on full sequences; an epoch of ML-1M has ML_1M_TARGETS targets, and some padding."""
    paper, softmax = HSTUConfig(request_time=True), HSTUConfig(request_time=True, loss="softmax")
    batch = Sequences(torch.randint(3_416, (USERS, LENGTH + 1)),
                      torch.randint(0, 90_000, (USERS, LENGTH + 1)).cumsum(1), torch.full((USERS,), LENGTH + 1))
    for name, config, low in (
            ("paper", paper, False),
            ("paper, shared negatives", paper.model_copy(update={"shared_negatives": True}), False),
            ("full softmax", softmax, False), ("full softmax, bfloat16", softmax, True),
            ("large", paper.model_copy(update={"blocks": 8, "heads": 2, "query_width": 25, "value_width": 25}), False)):
        model = HSTU(config, Facts(3_416, {}))

        def step(model: HSTU = model, low: bool = low) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                return model.training_loss(batch)[0]

        spent = milliseconds(step)
        epoch = spent / 1000 * ML_1M_TARGETS / (USERS * LENGTH)
        print(f"one step, {name:32} {spent:7.0f}, an epoch of ML-1M {epoch:4.0f} s", flush=True)


if __name__ == "__main__":
    allocator.tune()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    attention()
    losses(3_416)
    losses(12_101)
    steps()
