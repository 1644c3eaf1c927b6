"""What `cpbench run` is asked to do, as cells: one model on one dataset under one protocol with one seed."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cpbench.data import catalogue
from cpbench.data.protocol import Protocol
from cpbench.errors import UsageError, invalid, unknown
from cpbench.experiments.recipes import (
    DEFAULTS,
    STAGE,
    TUNED,
    Resolved,
    choose_recipe,
    known_keys,
    nearest,
    recipe_names,
    resolve,
)
from cpbench.models.base import Recommender
from cpbench.models.registry import model_class, model_names
from cpbench.report.place import run_folder

UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
LONGEST_LAG = 100 * 366 * 86400
SPLITS = ("leave-one-out", "temporal")
PAPER = "paper"
SIMULATED = "streaming"


@dataclass(frozen=True)
class Cell:
    """One run to be done: everything that decides its numbers but the data themselves."""

    dataset: str
    protocol: Protocol
    model_name: str
    model_class: type[Recommender]
    settings: Resolved
    seed: int

    @property
    def run_name(self) -> str:
        """``tuned-seed1``; settings given by hand add a short hash of them."""
        name = f"{self.settings.recipe}-seed{self.seed}"
        if self.settings.overrides:
            text = json.dumps(self.settings.overrides, sort_keys=True)
            name += f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return name

    def pretraining(self) -> "Cell":
        """The run without a condition that this one starts from."""
        protocol = self.protocol.model_copy(update={"condition": None})
        return replace(self, protocol=protocol, settings=replace(self.settings, second=None))

    def training(self) -> "Cell":
        """The same for all cells that train alike: a serving lag only changes what validation and test see."""
        return replace(self, protocol=self.protocol.model_copy(update={"serving_lag": 0}))

    def has_settings(self, recorded: Mapping[str, Any]) -> bool:
        """Whether `recorded`, a record's `config`, are the settings of this cell. A key that cpbench has learned since
        is at its default in every run from before it, so there it may be missing."""
        today = json.loads(json.dumps(self.settings.config))
        added = (today.keys() - recorded.keys()) & self.settings.at_default
        return recorded == {key: value for key, value in today.items() if key not in added}

    @property
    def label(self) -> str:
        lag = f", lag {self.protocol.serving_lag} s" if self.protocol.serving_lag else ""
        return f"{self.model_name} on {self.dataset} ({self.run_name}{lag})"

    def folder(self, results: Path) -> Path:
        """``results/DATASET/PROTOCOL/MODEL/RUN``."""
        return run_folder(results, self.dataset, self.protocol, self.model_name, self.run_name)


def parse_lag(text: str) -> int:
    """``900``, ``900s``, ``15m``, ``1h`` or ``1d`` in seconds."""
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in UNITS:
        raise UsageError(f"--serving-lag {text!r} is not a length of time; write 900, 900s, 15m, 1h or 1d")
    lag = int(match[1]) * UNITS[match[2]]
    if lag > LONGEST_LAG:
        raise UsageError(f"--serving-lag {text!r} is more than a hundred years")
    return lag


def parse_lags(text: str) -> list[int]:
    """``"0,15m"`` -> ``[0, 900]``."""
    lags = [parse_lag(part) for part in text.split(",") if part.strip()]
    if not lags:
        raise UsageError("--serving-lag names no length of time; 0 is the usual protocol")
    return list(dict.fromkeys(lags))


def parse_seeds(text: str) -> list[int]:
    """``"1,2,3"`` -> ``[1, 2, 3]``."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"\d{1,18}", part) for part in parts):
        raise UsageError(f"--seeds {text!r} is not a list of whole numbers from 0 up, as in --seeds 1,2,3")
    return list(dict.fromkeys(map(int, parts)))


def plan(models: Sequence[str], datasets: Sequence[str], seeds: Sequence[int], recipe: str = TUNED,
         overrides: Mapping[str, Any] | None = None, split: str = "leave-one-out", serving_lags: Sequence[int] = (0,),
         exclude_seen: bool | None = None, condition: str | None = None, horizon: int = 1) -> list[Cell]:
    """All cells, after everything that can be checked without data was checked: datasets outermost, lags innermost, so
    that cells which train alike are neighbours (`Cell.training`).

    A model that lacks `recipe` gets its tuned one; an override goes to the models that have its key. `exclude_seen`
    None means the dataset's default. Raises UsageError.
    """
    overrides = overrides or {}
    if not models:
        raise UsageError(f"no model was named; known: {', '.join(model_names())}")
    if not datasets:
        raise UsageError(f"no dataset was named; known: {', '.join(catalogue.known_names())}")
    classes = {name: model_class(name) for name in models}
    _check_recipe(recipe, classes)
    _check_keys(overrides, classes)
    second = sorted(key for key in overrides if key.startswith(STAGE))
    if second and condition is None:
        raise UsageError(f"--set {', '.join(second)} belongs to the stage that learns a condition: give --condition")
    protocols = {dataset: [protocol_for(dataset, split, lag, exclude_seen, condition, horizon) for lag in serving_lags]
                 for dataset in datasets}
    cells = []
    for dataset, alike in protocols.items():
        for name, found in classes.items():
            own = {key: value for key, value in overrides.items() if key in known_keys(found)}
            settings = resolve(found, choose_recipe(found, recipe), dataset, own, condition is not None)
            cells += [Cell(dataset, protocol, name, found, settings, seed) for seed in seeds for protocol in alike]
    return cells


def default_datasets() -> list[str]:
    """What a run without a dataset runs on: all that were downloaded or prepared, or the simulated one."""
    return catalogue.ready_names() or [SIMULATED]


def why_default(chosen: Sequence[str]) -> str:
    """Why these, when none was asked for."""
    if list(chosen) == [SIMULATED]:
        return " (no --dataset was given and none is downloaded yet: the simulated one)"
    return " (no --dataset was given: every one that is downloaded)"


def explain(cells: Sequence[Cell], recipe: str, overrides: Mapping[str, Any]) -> list[str]:
    """What the plan did that was not asked for in so many words: recipes replaced, overrides that do not apply."""
    models = {cell.model_name: cell for cell in cells}
    lines = [f"{name} has no recipe {recipe!r}: its {cell.settings.recipe!r} is used"
             for name, cell in models.items() if cell.settings.recipe != recipe]
    for key in overrides:
        without = [name for name, cell in models.items() if key not in known_keys(cell.model_class)]
        if without:
            lines.append(f"--set {key} does not apply to {', '.join(without)}")
    return lines


def untuned(cells: Sequence[Cell]) -> list[str]:
    """A sentence about the user's own data, whose recipes `tuned` are the general ones."""
    own = dict.fromkeys(cell.dataset for cell in cells
                        if cell.settings.recipe == TUNED and cell.dataset in catalogue.own_names())
    return [f"nobody has tuned the recipes for {', '.join(own)}: these are the general ones, `cpbench tune` searches"
            ] if own else []


def protocol_for(dataset: str, split: str = "leave-one-out", serving_lag: int = 0, exclude_seen: bool | None = None,
                 condition: str | None = None, horizon: int = 1) -> Protocol:
    """The protocol that was asked for on `dataset`; `exclude_seen` None means the dataset's default.

    Raises UsageError for settings that do not exist or fit together, and for a dataset that is not ready.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if dataset not in catalogue.known_names():
        raise unknown("dataset", dataset, catalogue.known_names())
    if not catalogue.is_ready(dataset):
        raise UsageError(f"dataset {dataset!r} is not prepared yet: run `cpbench download {dataset}`")
    seen = catalogue.exclude_seen_default(dataset) if exclude_seen is None else exclude_seen
    try:
        return Protocol.model_validate({"split": split, "serving_lag": serving_lag, "exclude_seen": seen,
                                        "condition": condition, "horizon": horizon})
    except ValidationError as error:
        raise invalid(error) from error


def _check_recipe(recipe: str, classes: Mapping[str, type[Recommender]]) -> None:
    """A recipe must belong to one of the models at least; `tuned` always passes (class defaults stand in)."""
    shipped = {name for found in classes.values() for name in recipe_names(found)}
    if recipe in shipped | {TUNED}:
        return
    if recipe == PAPER:
        raise UsageError(f"no recipe 'paper' for {', '.join(classes)}; leave --recipe out")
    raise unknown("recipe", recipe, (shipped | {TUNED, PAPER}) - {DEFAULTS})


def _check_keys(overrides: Mapping[str, Any], classes: Mapping[str, type[Recommender]]) -> None:
    """Every overridden key must be known to one of the models at least."""
    known = sorted({key for found in classes.values() for key in known_keys(found)})
    wrong = [f"{key!r}{nearest(key, known)}" for key in overrides if key not in known]
    if wrong:
        raise UsageError(f"--set: no setting of {', '.join(classes)} is called {'; '.join(wrong)}")
