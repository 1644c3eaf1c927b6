"""Runs cells: skip what is done, continue what was interrupted, record what was found; one failure stops no other.

While a cell is being trained, ``RUN.unfinished/`` beside its folder holds the training state; it goes when the record
is there. A lock lets only one process work on a cell. Neighbouring cells that differ in the serving lag alone are
trained once: ``RUN.tape/`` holds every epoch until the last of them has chosen its own.
"""

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import torch

from cpbench.data import catalogue
from cpbench.data.protocol import Protocol, Split, split
from cpbench.errors import CpbenchError, UsageError, on_one_line
from cpbench.evaluation.evaluate import evaluate
from cpbench.experiments import environment
from cpbench.experiments.ceiling import record_ceiling
from cpbench.experiments.instruct import instruct_and_record, pose
from cpbench.experiments.lock import only_one
from cpbench.experiments.plan import Cell
from cpbench.experiments.record import about_cell, write_run
from cpbench.experiments.watcher import Outcome, Watcher
from cpbench.files import clear_leftovers, restore_folder, write_json
from cpbench.models.base import Facts, NeuralRecommender, Recommender
from cpbench.report.evidence import RANKS
from cpbench.report.record import FILE_NAME, Cost, Metrics, RunRecord, load_record
from cpbench.training import allocator
from cpbench.training.loop import TrainingResult, choose_device, seed_everything, train


def run(cells: Sequence[Cell], results: Path, watcher: Watcher, force: bool = False,
        device: str = "auto") -> list[Outcome]:
    """Run all cells, in order. Raises UsageError when `results` cannot be written or `device` is not there."""
    target = choose_device(device)
    check_writable(results)
    allocator.tune()
    outcomes = []
    parts: dict[tuple[str, Protocol], Split] = {}
    for _, group in groupby(cells, lambda cell: cell.training()):
        alike = list(group)
        tape = _tape(alike, results)
        if tape and force:
            shutil.rmtree(tape, ignore_errors=True)
        for cell in alike:
            watcher.begin(cell.label)
            folder = cell.folder(results)
            try:
                if (cell.dataset, cell.protocol) not in parts:
                    parts = {key: part for key, part in parts.items() if key[0] == cell.dataset}
                    part = parts[cell.dataset, cell.protocol] = split(catalogue.load(cell.dataset), cell.protocol)
                    _try_ceiling(part, results, watcher)
                outcome = _run_cell(cell, parts[cell.dataset, cell.protocol], folder, watcher, force, target, tape)
            except Exception as error:
                if os.environ.get("CPBENCH_DEBUG"):
                    raise
                outcome = Outcome(cell, "failed", folder, error=sentence(error))
            outcomes.append(outcome)
            watcher.end(outcome)
        if tape:
            shutil.rmtree(tape, ignore_errors=True)
    return outcomes


def _tape(alike: Sequence[Cell], results: Path) -> Path | None:
    """Where cells that train alike keep that training while they run; None for one that trains alone."""
    if len(alike) == 1 or not issubclass(alike[0].model_class, NeuralRecommender):
        return None
    folder = alike[0].folder(results)
    return folder.with_name(f"{folder.name}.tape")


def _try_ceiling(part: Split, results: Path, watcher: Watcher) -> None:
    try:
        record_ceiling(part, results, watcher.say)
    except CpbenchError as error:  # the models' own numbers do not depend on it
        watcher.warn(f"the ceiling of {part.dataset.name} was not recorded: {error}")


def sentence(error: Exception) -> CpbenchError:
    """Any failure as one that a command can report."""
    if isinstance(error, CpbenchError):
        return error
    return CpbenchError(f"{on_one_line(error)} (set CPBENCH_DEBUG=1 for the details)")


def check_writable(results: Path) -> None:
    """Before hours of training, not after. Raises UsageError."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"the results folder {results} cannot be written ({error.strerror or error}); "
                         "choose another with --results DIR") from error


def _run_cell(cell: Cell, part: Split, folder: Path, watcher: Watcher, force: bool, device: torch.device,
              tape: Path | None, needs_model: bool = False) -> Outcome:
    with only_one(folder, watcher.say):
        clear_leftovers(folder)
        if not force:
            record = _finished(cell, part, folder, watcher, needs_model)
            if record is not None:
                return Outcome(cell, "skipped", folder, record)
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        started = _open(unfinished, cell, part, watcher, force)
        state = unfinished / "training"
        try:
            if cell.protocol.condition is None:
                record = _train_and_record(cell, part, folder, state, started, watcher, device, tape)
            else:
                question = pose(part)
                base = _run_pretraining(cell, part, folder.parents[3], watcher, device, tape)
                record = instruct_and_record(cell, part, folder, state, started, watcher, device, base, question)
            shutil.rmtree(state, ignore_errors=True)
            return Outcome(cell, "done", folder, record)
        finally:
            if not state.exists():  # nothing to continue from
                shutil.rmtree(unfinished, ignore_errors=True)


def _run_pretraining(cell: Cell, part: Split, results: Path, watcher: Watcher, device: torch.device,
                     tape: Path | None) -> Path:
    """The folder of the run that a run with a condition starts from; made first where it is absent."""
    base = cell.pretraining()
    watcher.say(f"first, without the condition: {base.label}")
    folder = base.folder(results)
    _run_cell(base, replace(part, protocol=base.protocol), folder, watcher, False, device, tape, needs_model=True)
    return folder


def _finished(cell: Cell, part: Split, folder: Path, watcher: Watcher, needs_model: bool) -> RunRecord | None:
    """The record of this very run, if there is one: same data and same settings, and the model where it is needed."""
    if not (folder / FILE_NAME).exists():
        return None
    record = load_record(folder)
    if not (folder / RANKS).is_file():
        watcher.say("its ranks are gone: running it again")
        return None
    if needs_model and not (folder / "model").is_dir():
        watcher.say("its model is gone: running it again")
        return None
    if record.dataset_fingerprint != part.dataset.fingerprint:
        watcher.say(f"the data have changed since this run was recorded ({record.dataset_fingerprint} then, "
                    f"{part.dataset.fingerprint} now): running it again")
        return None
    if not cell.has_settings(record.config):
        watcher.say("the recipe has changed since this run was recorded: running it again")
        return None
    return record


def _open(unfinished: Path, cell: Cell, part: Split, watcher: Watcher, force: bool) -> str:
    """Prepare the folder of the training state; returns when the run was first started.

    A state that belongs to other data or settings, or that --force disowns, is discarded.
    """
    fingerprint = part.dataset.fingerprint
    note = unfinished / "run.json"
    restore_folder(unfinished / "training")
    try:
        document = json.loads(note.read_text(encoding="utf-8"))
        same = document["dataset_fingerprint"] == fingerprint and cell.has_settings(document["config"])
        if same and not force:
            if (unfinished / "training").exists():
                watcher.say("continuing where it was interrupted")
            return str(document["started"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or none that can be trusted
    shutil.rmtree(unfinished, ignore_errors=True)
    started = environment.utc_now()
    write_json(note, {"dataset_fingerprint": fingerprint, "config": cell.settings.config, "started": started})
    return started


def _train_and_record(cell: Cell, part: Split, folder: Path, state: Path, started: str, watcher: Watcher,
                      device: torch.device, tape: Path | None) -> RunRecord:
    environment.forget_peak_memory()
    model = build(cell, part)
    if tape:
        _open(tape, cell, part, watcher, force=False)
    result = fit(model, cell, part, state, watcher, device, tape)
    valid = evaluate(model, part, part.valid, only_accuracy=True)
    test = evaluate(model, part, part.test)
    record = RunRecord(
        **about_cell(cell, part, started, device),
        information=model.information,
        metrics=Metrics(valid=valid.metrics, test=test.metrics),
        selected_by=result.selected_by,
        precision=result.precision,
        stopped_by="max_minutes" if result.out_of_time else "",
        notes=test.notes,
        cost=Cost(fit_seconds=result.fit_seconds, evaluate_seconds=test.seconds, epochs=result.epochs,
                  best_epoch=result.best_epoch, peak_rss_bytes=environment.peak_memory(),
                  parameters=model.n_parameters),
    )
    return write_run(folder, record, part.test, test.all_ranks, result.curve, model)


def build(cell: Cell, part: Split) -> Recommender:
    """The model of `cell` before any training. Raises UsageError when its settings do not fit together."""
    seed_everything(cell.seed, 0)
    try:
        return cell.model_class(cell.settings.model, Facts.of(part.dataset))
    except ValueError as error:  # settings that are valid one by one, but not together
        raise UsageError(f"{cell.model_name} cannot be built with these settings: {error}") from error


def fit(model: Recommender, cell: Cell, part: Split, state: Path, watcher: Watcher, device: torch.device,
        tape: Path | None = None) -> TrainingResult:
    """Train it by the loop, which keeps its state in the folder `state` and finds it there, or by its own `fit`."""
    if isinstance(model, NeuralRecommender) and cell.settings.training is not None:
        return train(model, part, cell.settings.training, cell.seed, state, watcher.epoch, str(device), tape=tape,
                     say=watcher.say)
    begun = time.perf_counter()
    model.place(device)
    curve = model.fit(part, cell.seed) or []
    last = curve[-1] if curve else {"epoch": 0, "best_epoch": 0}
    return TrainingResult(curve, last["epoch"], last["best_epoch"], time.perf_counter() - begun)
