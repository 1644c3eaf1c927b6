"""A search for the settings of a model on one dataset, by validation NDCG@10: the test is never looked at.

Trial 0 is the recipe as it is, so that a search says whether it was worth its time. Every finished trial stands in
``results/tuning/DATASET/PROTOCOL/MODEL/RUN/tuning.json``; the one under way keeps its training state beside it, and the
same command continues both. What is tried next depends on the trials before it and the seed, on nothing else.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from cpbench.data import catalogue
from cpbench.data.protocol import Protocol, Split, split
from cpbench.errors import CpbenchError, UsageError
from cpbench.evaluation.evaluate import evaluate
from cpbench.experiments import environment
from cpbench.experiments.lock import only_one
from cpbench.experiments.plan import Cell
from cpbench.experiments.recipes import STAGE, known_keys, nearest, resolve
from cpbench.experiments.runner import build, check_writable, fit, sentence
from cpbench.experiments.search_space import Space, count, grid, model_space, require_optuna, suggest
from cpbench.experiments.watcher import Watcher
from cpbench.files import write_json
from cpbench.report.place import run_folder
from cpbench.training import allocator
from cpbench.training.loop import SELECTION_METRIC, choose_device

LEDGER = "tuning.json"


class Trial(BaseModel):
    """One training; `valid` unless it failed, `error` if it did."""

    number: int
    settings: dict[str, Any]
    valid: dict[str, float] | None = None
    error: str | None = None
    epochs: int = 0
    best_epoch: int = 0
    seconds: float

    @property
    def value(self) -> float:
        return -1.0 if self.valid is None else self.valid[SELECTION_METRIC]


class Ledger(BaseModel):
    """What was searched, and all that was found."""

    model: str
    dataset: str
    dataset_fingerprint: str
    protocol: Protocol
    recipe: str
    config: dict[str, Any]
    """Settings of trial 0."""
    fixed: dict[str, Any]
    """Those of them that ``--set`` gave."""
    space: dict[str, str]
    seed: int
    circumstances: dict[str, Any]
    """Command, commit, versions and machine of whoever wrote last."""
    trials: list[Trial] = []

    @property
    def best(self) -> Trial | None:
        """The first of the best; None while no trial succeeded."""
        return max((trial for trial in self.trials if trial.valid), key=lambda trial: trial.value, default=None)


@dataclass(frozen=True)
class Search:
    """A model on a dataset, and what is varied around the settings of `base`."""

    base: Cell
    space: Space

    def cell(self, settings: Mapping[str, Any]) -> Cell:
        base = self.base.settings
        overrides = {**base.overrides, **settings}
        return replace(self.base, settings=resolve(self.base.model_class, base.recipe, self.base.dataset, overrides))

    def folder(self, results: Path) -> Path:
        text = json.dumps([f"{key}={each}" for key, each in sorted(self.space.items())])
        run = f"{self.base.run_name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return run_folder(results / "tuning", self.base.dataset, self.base.protocol, self.base.model_name, run)


def searches(cells: Sequence[Cell], given: Space) -> list[Search]:
    """A search for each of `cells`: of the keys in `given` that its model has, or of the model's own space.

    Raises UsageError for keys that no model has or that are fixed, values that a model refuses, and a model without
    anything to vary.
    """
    known = {key for cell in cells for key in known_keys(cell.model_class) if not key.startswith(STAGE)}
    wrong = [f"{key!r}{nearest(key, sorted(known))}" for key in given if key not in known]
    if wrong:
        raise UsageError(f"--try: no setting of {', '.join(cell.model_name for cell in cells)} is called "
                         f"{'; '.join(wrong)}")
    found = []
    for cell in cells:
        space = given or model_space(cell.model_class)
        space = {key: each for key, each in space.items() if key in known_keys(cell.model_class)}
        fixed = space.keys() & cell.settings.overrides.keys()
        if given and fixed:
            raise UsageError(f"--set fixes {', '.join(sorted(fixed))} and --try varies it: leave one of them out")
        space = {key: each for key, each in space.items() if key not in fixed}
        if not space:
            raise UsageError(f"there is nothing to vary in {cell.model_name}: leave it out, or say what with "
                             "--try KEY=LOW..HIGH")
        search = Search(cell, {key: each.of(type(cell.settings.config[key])) for key, each in space.items()})
        for key, each in search.space.items():
            for end in each.ends:
                search.cell({key: end})  # refused here, not in the night
        found.append(search)
    return found


def tune(wanted: Sequence[Search], trials: int, minutes: float, results: Path, watcher: Watcher, force: bool = False,
         device: str = "auto") -> list[tuple[Path, Ledger]]:
    """Work through all searches: `trials` of each, the recipe included, none begun after `minutes` of it (0: no limit).

    A trial that fails is a line of the ledger, and the search goes on. Raises UsageError when `results` cannot be
    written, `device` is not there or a package is missing, and CpbenchError when nothing can be written any more.
    """
    target = choose_device(device)
    check_writable(results)
    allocator.tune()
    if any(count(search.space) >= trials > 1 for search in wanted):
        require_optuna()
    found = []
    for search in wanted:
        part = split(catalogue.load(search.base.dataset), search.base.protocol)
        folder = search.folder(results)
        with only_one(folder, watcher.say):
            ledger = _open(search, part, folder, watcher, force)
            while len(ledger.trials) < trials and not 0 < minutes * 60 <= sum(each.seconds for each in ledger.trials):
                settings = _next(search, ledger, trials)
                if settings is None:
                    watcher.say("everything in the space has been tried")
                    break
                ledger.trials.append(_try(search, len(ledger.trials), settings, part, folder, watcher, target))
                ledger.circumstances = environment.circumstances(target)
                write_json(folder / LEDGER, ledger.model_dump(mode="json"))
        found.append((folder / LEDGER, ledger))
    return found


def possible(search: Search, trials: int) -> int:
    """How many trials there can be: all settings of a small space and the recipe, where that is not one of them."""
    recipe = {key: search.base.settings.config[key] for key in search.space}
    size = count(search.space)
    return trials if size >= trials else min(trials, int(size) + (recipe not in grid(search.space)))


def _open(search: Search, part: Split, folder: Path, watcher: Watcher, force: bool) -> Ledger:
    """The ledger as it was left, or a new one: when told to, and when data or recipe are no longer what they were."""
    base, path = search.base, folder / LEDGER
    new = Ledger(model=base.model_name, dataset=base.dataset, dataset_fingerprint=part.dataset.fingerprint,
                 protocol=base.protocol, recipe=base.settings.recipe, config=base.settings.config,
                 fixed=base.settings.overrides, space={key: str(each) for key, each in search.space.items()},
                 seed=base.seed, circumstances={})
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    if not path.exists():
        return new
    try:
        old = Ledger.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise CpbenchError(f"{path} cannot be read as the ledger of a search: start again with --force") from error
    if old.dataset_fingerprint != new.dataset_fingerprint or not base.has_settings(old.config):
        watcher.say("data or recipe have changed since this search began: starting again")
        shutil.rmtree(folder, ignore_errors=True)
        return new
    if old.trials:
        watcher.say(f"{base.label}: {len(old.trials)} trials are done already")
    return old


def _next(search: Search, ledger: Ledger, trials: int) -> dict[str, Any] | None:
    """What the next trial changes; None when nothing is left. Everything in order, where there are trials enough."""
    number, space = len(ledger.trials), search.space
    if not number:
        return {}
    recipe = {key: ledger.config[key] for key in space}
    settings = [trial.settings or recipe for trial in ledger.trials]
    size = count(space)
    if size >= trials:  # the recipe is a trial, too
        worth = [trial.value for trial in ledger.trials]
        tried = [pair for pair in zip(settings, worth, strict=True) if pair[1] >= 0]
        drawn = suggest(space, tried, search.base.seed, number)
        if size == float("inf") or drawn not in settings:
            return drawn
    return next((each for each in grid(space) if each not in settings), None)


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _try(search: Search, number: int, settings: dict[str, Any], part: Split, folder: Path, watcher: Watcher,
         device: torch.device) -> Trial:
    cell = search.cell(settings)
    what, given = _listed(settings), _listed(search.base.settings.overrides)
    plain = f"the recipe {cell.settings.recipe!r} {f'with {given}' if given else 'as it is'}"
    watcher.begin(f"{cell.model_name} on {cell.dataset}, {what or plain}")
    state = folder / f"trial-{number}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
    for other in folder.glob("trial-*"):
        if other != state:
            shutil.rmtree(other, ignore_errors=True)
    started = time.perf_counter()
    try:
        model = build(cell, part)
        result = fit(model, cell, part, state / "training", watcher, device)
        valid = evaluate(model, part, part.valid, only_accuracy=True).metrics
        trial = Trial(number=number, settings=settings, valid=valid, epochs=result.epochs,
                      best_epoch=result.best_epoch, seconds=round(result.fit_seconds, 3))
        watcher.say(f"valid {SELECTION_METRIC} {trial.value:.4f}")
    except Exception as error:
        if os.environ.get("CPBENCH_DEBUG") or isinstance(error.__cause__, OSError):  # a full disk fails every trial
            raise
        trial = Trial(number=number, settings=settings, error=str(sentence(error)),
                      seconds=round(time.perf_counter() - started, 3))
        watcher.warn(f"this trial failed: {trial.error}")
    shutil.rmtree(state, ignore_errors=True)
    allocator.trim()
    return trial
