"""An online test in simulation: recorded runs as policies, what each was worth, and how they differ from the first."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cpbench.climber_pilot.instructed import InstructedPilot
from cpbench.data import catalogue
from cpbench.data.streaming.service import Service
from cpbench.data.streaming.traffic import traffic
from cpbench.data.streaming.world import WorldConfig
from cpbench.errors import UsageError, invalid, unknown
from cpbench.experiments import environment
from cpbench.experiments.lift import COVERAGE, RESAMPLES, differences, groups, per_user, values
from cpbench.experiments.simulation import Instructed, Plain, Policy, Served, serve
from cpbench.experiments.stored import StoredRun, load_run
from cpbench.files import finite, write_json

FOLDER, FILE_NAME = "simulation", "simulation.json"


@dataclass(frozen=True)
class Entrant:
    """A policy of the test: a recorded run and how it serves."""

    label: str
    run: StoredRun
    served_by: str
    policy: Policy


def world_config(settings: Mapping[str, Any]) -> WorldConfig:
    """Raises UsageError, naming every knob that is unknown or contradictory."""
    for key in settings:
        if key not in WorldConfig.model_fields:
            raise unknown("setting", key, WorldConfig.model_fields)
    try:
        return WorldConfig(**settings)
    except ValidationError as error:
        raise invalid(error) from error


def entrants(references: Sequence[str], results: Path, instructions: int) -> list[Entrant]:
    """The runs as policies, in this order. Raises UsageError unless all are of the same simulated dataset."""
    runs = [load_run(reference, results) for reference in references]
    for reference, run in zip(references, runs, strict=True):
        dataset = run.split.dataset
        Service.load(dataset, catalogue.prepared_folder(dataset.name))
        if dataset.fingerprint != runs[0].split.dataset.fingerprint:
            raise UsageError(f"policies serve the same users, but {reference} was trained on {dataset.name} and "
                             f"{references[0]} on {runs[0].split.dataset.name}")
    made = [_policy(run, instructions) for run in runs]
    labels = _labels(runs, [served_by for served_by, _ in made], results)
    return [Entrant(label, run, served_by, policy)
            for label, run, (served_by, policy) in zip(labels, runs, made, strict=True)]


def _policy(run: StoredRun, instructions: int) -> tuple[str, Policy]:
    if isinstance(run.model, InstructedPilot) and run.record.obeys == "model" and instructions:
        plural = "s" if instructions > 1 else ""
        return (f"{instructions} instruction{plural} ({run.model.conditions.name})",
                Instructed(run.model, instructions))
    return "scores", Plain(run.model)


def _labels(runs: Sequence[StoredRun], served_by: Sequence[str], results: Path) -> list[str]:
    """The model and how it serves; where that is not unique the run's folder, too; and a number for the same again."""
    short = [run.record.model if how == "scores" else f"{run.record.model}, {how}"
             for run, how in zip(runs, served_by, strict=True)]
    folders = {label: {run.folder for run, each in zip(runs, short, strict=True) if each == label} for label in short}
    long = [f"{label} [{_place(run, results)}]" if len(folders[label]) > 1 else label
            for run, label in zip(runs, short, strict=True)]
    return [label if long.count(label) == 1 else f"{label} #{long[:place + 1].count(label)}"
            for place, label in enumerate(long)]


def _place(run: StoredRun, results: Path) -> str:
    return str(run.folder.relative_to(results) if run.folder.is_relative_to(results) else run.folder)


def online_test(policies: Sequence[Entrant], results: Path, days: int, users: int | None, seed: int, world: WorldConfig,
                begin: Callable[[str, int], None] = lambda label, requests: None,
                advance: Callable[[int], None] = lambda requests: None) -> tuple[dict[str, Any], Path]:
    """Serve the same users with every policy; returns the document and the file it was written to.

    `begin` hears of each policy and of how many requests it may get. Raises UsageError when nobody would come, and
    CpbenchError when the file cannot be written.
    """
    dataset = policies[0].run.split.dataset
    service = Service.load(dataset, catalogue.prepared_folder(dataset.name))
    coming = traffic(service, users, days, seed, world.busier)
    members = groups(service, coming)
    served = []
    for entrant in policies:
        begin(entrant.label, len(coming))
        served.append(serve(entrant.policy, service, coming, world, advance))
    worth = [per_user(each, service, coming) for each in served]
    against_first = [None, *differences(worth, members, seed)]
    settings = {"days": days, "users": len(coming.users), "seed": seed, "world": world.model_dump(mode="json"),
                "dataset_fingerprint": dataset.fingerprint}
    chosen = [{"label": entrant.label, "run": _place(entrant.run, results), "model": entrant.run.record.model,
               "served_by": entrant.served_by} for entrant in policies]
    commit, dirty = environment.source()
    document = {
        "dataset": dataset.name,
        **settings,
        "groups": {name: int(group.sum()) for name, group in members.items()},
        "requests_planned": len(coming),
        "intervals": f"{COVERAGE} % percentiles of {RESAMPLES} paired bootstrap resamples of the users",
        "policies": [{
            **about,
            "totals": _totals(each),
            "metrics": {name: values(users_worth, group) for name, group in members.items()},
            "against_first": None if gap is None else {
                name: {metric: asdict(difference) for metric, difference in by_metric.items()}
                for name, by_metric in gap.items()},
        } for about, each, users_worth, gap in zip(chosen, served, worth, against_first, strict=True)],
        "command": environment.command_line(),
        "versions": environment.versions(),
        "commit": commit,
        "dirty": dirty,
    }
    digest = hashlib.sha256(json.dumps([settings, chosen], sort_keys=True).encode()).hexdigest()[:12]
    path = results / dataset.name / FOLDER / digest / FILE_NAME
    write_json(path, finite(document))
    return document, path


def _totals(served: Served) -> dict[str, int]:
    return {"requests": int(served.made.sum()), "shown": int((served.shown >= 0).sum()),
            "plays": int(served.begun.sum()), "finished": int(served.finished.sum()),
            "likes": int(served.liked.sum()), "seconds": int(served.seconds.sum())}
