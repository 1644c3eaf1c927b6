"""Recipes: where the settings of a run come from, and one sentence that names everything wrong with them.

A recipe is a table of ``NAME.toml`` beside the model's module. Keys of the model's Config and of TrainingConfig share
one namespace; later sources win: class default, recipe, recipe's table for the dataset, ``--set``.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from cpbench.errors import CpbenchError, UsageError, unknown
from cpbench.models.base import ModelConfig, NeuralRecommender, Recommender
from cpbench.training.config import TrainingConfig

DEFAULTS = "defaults"
"""The recipe that is no recipe: the defaults of the classes."""
TUNED = "tuned"
OVERRIDE = "--set"
"""Source of a value given on the command line."""


@dataclass(frozen=True)
class Resolved:
    """Settings of one run: `training` is None for models that no loop trains; `sources` says of every key whence."""

    recipe: str
    model: ModelConfig
    training: TrainingConfig | None
    sources: dict[str, str]

    @property
    def config(self) -> dict[str, Any]:
        """Every key and value, JSON-ready."""
        training = {} if self.training is None else self.training.model_dump(mode="json")
        return {**training, **self.model.model_dump(mode="json")}

    @property
    def overrides(self) -> dict[str, Any]:
        """The keys that ``--set`` gave, sorted."""
        return {key: self.config[key] for key in sorted(self.sources) if self.sources[key] == OVERRIDE}


def known_keys(model_class: type[Recommender]) -> set[str]:
    """What ``--set`` accepts for this model."""
    return {key for config in _configs(model_class) for key in config.model_fields}


def recipe_names(model_class: type[Recommender]) -> list[str]:
    """The recipes that the model ships, and `defaults`."""
    return [*_read(model_class), DEFAULTS]


def choose_recipe(model_class: type[Recommender], wanted: str) -> str:
    """`wanted` where the model ships it, else the nearest to it that it has: tuned, or the class defaults."""
    names = recipe_names(model_class)
    return next(name for name in (wanted, TUNED, DEFAULTS) if name in names)


def resolve(model_class: type[Recommender], recipe: str, dataset: str, overrides: Mapping[str, Any]) -> Resolved:
    """The settings of `recipe` on `dataset`, with `overrides` on top.

    Raises UsageError for an unknown recipe, and one that names all unknown keys and invalid values together.
    """
    if recipe not in recipe_names(model_class):
        raise unknown(f"recipe of {model_class.name}", recipe, recipe_names(model_class))
    values, sources = _from_recipe(model_class, recipe, dataset)
    values |= overrides
    sources |= dict.fromkeys(overrides, OVERRIDE)
    problems = _unknown_keys(model_class, values)
    configs: list[BaseModel] = []
    for config in _configs(model_class):
        own = {key: value for key, value in values.items() if key in config.model_fields}
        try:  # as JSON: there, strict means what a person means (1 is no truth value, a list may be a tuple)
            configs.append(config.model_validate_json(json.dumps(own), strict=True))
        except ValidationError as error:
            problems += [_problem(detail, sources) for detail in error.errors(include_url=False)]
    if problems:
        raise UsageError(f"configuration of {model_class.name} ({recipe}): {'; '.join(problems)}")
    training = configs[1] if len(configs) > 1 else None
    assert isinstance(configs[0], ModelConfig) and (training is None or isinstance(training, TrainingConfig))
    sources = {key: sources.get(key, "default") for key in sorted(known_keys(model_class))}
    return Resolved(recipe, configs[0], training, sources)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["width=32", "loss=bce"]`` -> ``{"width": 32, "loss": "bce"}``: a TOML value, or else plain text."""
    parsed = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (equals and key.strip() and text.strip()):
            raise UsageError(f"--set {setting!r} is not of the form KEY=VALUE, as in --set width=32")
        parsed[key.strip()] = _value(text.strip())
    return parsed


def _value(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = document["value"]
    simple = len(document) == 1 and isinstance(value, bool | int | float | str | list)
    return value if simple else text


def _configs(model_class: type[Recommender]) -> list[type[BaseModel]]:
    trained = issubclass(model_class, NeuralRecommender)
    return [model_class.Config, TrainingConfig] if trained else [model_class.Config]


def _read(model_class: type[Recommender]) -> dict[str, dict[str, Any]]:
    path = model_class.recipe_file()
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CpbenchError(f"the recipes of {model_class.name} in {path.name} cannot be read: {error}") from error


def _from_recipe(model_class: type[Recommender], recipe: str, dataset: str) -> tuple[dict[str, Any], dict[str, str]]:
    table = dict(_read(model_class).get(recipe, {}))
    special = dict(table.pop("dataset", {}).get(dataset, {}))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for label, part in ((f"recipe {recipe}", table), (f"recipe {recipe} for {dataset}", special)):
        source = part.pop("source", "")
        values |= part
        sources |= dict.fromkeys(part, f"{label}: {source}" if source else label)
    return values, sources


def _unknown_keys(model_class: type[Recommender], values: Mapping[str, Any]) -> list[str]:
    known = sorted(known_keys(model_class))
    return [f"unknown key {key!r}{nearest(key, known)}" for key in values if key not in known]


def nearest(key: str, known: list[str]) -> str:
    """``, did you mean 'length'?``, or what there is."""
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else f" (known: {', '.join(known) or 'none'})"


def _problem(detail: Any, sources: Mapping[str, str]) -> str:
    key = str(detail["loc"][0]) if detail["loc"] else "value"
    message = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    where = "" if sources.get(key) == OVERRIDE else f" (from {sources.get(key, 'the configuration')})"
    return f"{key} = {detail['input']!r} {message}{where}"
