"""Runs an ablation's grid (what is done is skipped) and reads off what its table compares."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cpbench.climber_pilot.instructed import InstructedPilot
from cpbench.errors import CpbenchError, UsageError
from cpbench.experiments.ablations import Ablation, Variant
from cpbench.experiments.instruct import FINE_TUNING, PRETRAINING
from cpbench.experiments.instructed_lists import evaluate_instructions
from cpbench.experiments.plan import Cell
from cpbench.experiments.runner import run
from cpbench.experiments.stored import load_run
from cpbench.experiments.watcher import Outcome, Watcher
from cpbench.report.ablation import Measured
from cpbench.report.evidence import read_ranks, step_columns

COUNTS = (1, 3, 5)
"""How many precomputed instructions the ablation `instructions` tries."""


def measure(ablation: Ablation, grid: Sequence[tuple[Variant, Cell]], results: Path, watcher: Watcher,
            force: bool = False, device: str = "auto") -> tuple[list[Measured], list[Outcome]]:
    """Every run's figures, protocol by protocol in the order of the grid, and what became of every run.

    Raises CpbenchError when no run succeeded (UsageError when all were refused).
    """
    outcomes = run([cell for _, cell in grid], results, watcher, force, device)
    done = [(variant, outcome) for (variant, _), outcome in zip(grid, outcomes, strict=True)
            if outcome.record is not None]
    if not done:
        refused = all(isinstance(outcome.error, UsageError) for outcome in outcomes)
        raise (UsageError if refused else CpbenchError)(
            f"no run of the ablation {ablation.name!r} succeeded; the reasons stand above")
    lags = list(dict.fromkeys(cell.protocol.serving_lag for _, cell in grid))
    found = [each for variant, outcome in done for each in _figures(ablation, variant, outcome)]
    found.sort(key=lambda each: lags.index(each.lag))
    first = {(each.lag, each.label, each.seed): each for each in reversed(found)}  # shared rows occur once a variant
    return list({key: first[key] for key in ((each.lag, each.label, each.seed) for each in found)}.values()), outcomes


def _figures(ablation: Ablation, variant: Variant, outcome: Outcome) -> list[Measured]:
    record = outcome.record
    assert record is not None
    plain = Measured(variant.label, record.protocol.serving_lag, record.seed, record.metrics.test)
    if ablation.name == "instructions":
        return _by_count(outcome, plain)
    table = read_ranks(outcome.folder)
    if not ablation.conditional:
        return [replace(plain, ranks=table.select(step_columns(table)).to_numpy())]
    names = {(PRETRAINING, "none"): "not instructed", (PRETRAINING, "post-filter"): "post-filter",
             (PRETRAINING, "hard-filter"): "hard filter", (FINE_TUNING, "model"): variant.label,
             (FINE_TUNING, "model+filter"): f"{variant.label} + hard filter"}
    return [replace(plain, label=names[stage.name, how], metrics=metrics,
                    ranks=table[f"rank, {stage.name}: {how}"].to_numpy())
            for stage in record.stages for how, metrics in stage.metrics.items() if (stage.name, how) in names]


def _by_count(outcome: Outcome, plain: Measured) -> list[Measured]:
    stored = load_run(str(outcome.folder), outcome.folder.parents[3])
    assert isinstance(stored.model, InstructedPilot)
    found = []
    for count in (0, *COUNTS):
        ranks, metrics = evaluate_instructions(stored.model, stored.split, stored.split.test, count)
        label = "no instruction" if count == 0 else f"P = {count}"
        found.append(replace(plain, label=label, metrics=metrics, ranks=np.asarray(ranks)))
    return found
