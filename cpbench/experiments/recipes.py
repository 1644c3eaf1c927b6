"""Recipes: where the settings of a run come from, and one sentence that names everything wrong with them.

A recipe is a table of ``NAME.toml`` beside the model's module. Keys of the model's Config and of TrainingConfig share
one namespace; later sources win: class default, recipe, recipe's table for the dataset, ``--set``.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cpbench.data.card import cards
from cpbench.errors import CpbenchError, UsageError, closest, unknown
from cpbench.models.base import InstructedRecommender, ModelConfig, NeuralRecommender, Recommender
from cpbench.training.config import TrainingConfig

DEFAULTS = "defaults"
"""The recipe that is no recipe: the defaults of the classes."""
TUNED = "tuned"
SEARCH = "search"
"""The table of a recipe file that is no recipe either: what `cpbench tune` varies."""
STAGE = "sft."
"""Prefix of the keys of the fine-tuning stage: ``--set sft.learning_rate=1e-5``; in a recipe, its table ``sft``."""
GIVEN = ("pilot", "condition")
"""Keys of a second stage that the run itself gives: the pre-trained model's settings, and the condition."""
OVERRIDE = "--set"
"""Source of a value given on the command line."""
DEFAULT = "default"
"""Source of a value that neither a recipe nor the command line gives."""


@dataclass(frozen=True)
class Resolved:
    """Settings of one run: `training` is None for models that no loop trains; `sources` says of every key whence."""

    recipe: str
    model: ModelConfig
    training: TrainingConfig | None
    sources: dict[str, str]
    second: "Resolved | None" = None
    """The settings of the stage that learns a condition, where one is asked for; its `model` lacks `pilot`."""

    @property
    def config(self) -> dict[str, Any]:
        """Every key and value, JSON-ready."""
        training = {} if self.training is None else self.training.model_dump(mode="json")
        own = {**training, **self.model.model_dump(mode="json")}
        if self.second is None:
            return own
        return own | {STAGE + key: value for key, value in self.second.config.items() if key not in GIVEN}

    @property
    def all_sources(self) -> dict[str, str]:
        """`sources`, the second stage's included."""
        if self.second is None:
            return self.sources
        return self.sources | {STAGE + key: source for key, source in self.second.sources.items()}

    @property
    def at_default(self) -> set[str]:
        """The keys that are at the default of their class, whoever set them; the second stage's included."""
        configs = [self.model] if self.training is None else [self.model, self.training]
        own = {key for config in configs for key, field in type(config).model_fields.items()
               if getattr(config, key) == field.get_default(call_default_factory=True)}
        return own if self.second is None else own | {STAGE + key for key in self.second.at_default}

    @property
    def overrides(self) -> dict[str, Any]:
        """The keys that ``--set`` gave, sorted."""
        sources = self.all_sources
        return {key: self.config[key] for key in sorted(sources) if sources[key] == OVERRIDE}


def known_fields(model_class: type[Recommender]) -> dict[str, FieldInfo]:
    """What ``--set`` accepts for this model, by key; its second stage's come last."""
    stage = model_class.instructed()
    second = {STAGE + key: field for config in _configs(stage) for key, field in config.model_fields.items()
              if key not in GIVEN} if stage else {}
    return {key: field for config in _configs(model_class) for key, field in config.model_fields.items()} | second


def known_keys(model_class: type[Recommender]) -> set[str]:
    """The keys of `known_fields`."""
    return set(known_fields(model_class))


def recipe_names(model_class: type[Recommender]) -> list[str]:
    """The recipes that the model ships, and `defaults`."""
    return [*(name for name in _read(model_class) if name != SEARCH), DEFAULTS]


def special_datasets(model_class: type[Recommender], recipe: str) -> list[str]:
    """The datasets for which `recipe` has settings of its own."""
    return list(_read(model_class).get(recipe, {}).get("dataset", {}))


def search_table(model_class: type[Recommender]) -> dict[str, str]:
    """What `cpbench tune` varies unless it is told: a range or a list of values for each key, as text."""
    return {key: text for key, text in _read(model_class).get(SEARCH, {}).items() if key != "source"}


def choose_recipe(model_class: type[Recommender], wanted: str) -> str:
    """`wanted` where the model ships it, else the nearest to it that it has: tuned, or the class defaults."""
    names = recipe_names(model_class)
    return next(name for name in (wanted, TUNED, DEFAULTS) if name in names)


def resolve(model_class: type[Recommender], recipe: str, dataset: str, overrides: Mapping[str, Any],
            with_condition: bool = False) -> Resolved:
    """The settings of `recipe` on `dataset`, with `overrides` on top.

    Raises UsageError for an unknown recipe, and one that names all unknown keys and invalid values together.
    """
    if recipe not in recipe_names(model_class):
        raise unknown(f"recipe of {model_class.name}", recipe, recipe_names(model_class))
    tables = _from_recipe(model_class, recipe, dataset)
    first = {key: value for key, value in overrides.items() if not key.startswith(STAGE)}
    settings = _settings(model_class, recipe, *tables[""], first)
    stage = model_class.instructed()
    if not with_condition or stage is None:
        return settings
    second = {key.removeprefix(STAGE): value for key, value in overrides.items() if key.startswith(STAGE)}
    return replace(settings, second=_settings(stage, recipe, *tables[STAGE], second))


def _settings(model_class: type[Recommender], recipe: str, values: dict[str, Any], sources: dict[str, str],
              overrides: Mapping[str, Any]) -> Resolved:
    values = {**values, **overrides}
    sources = {**sources, **dict.fromkeys(overrides, OVERRIDE)}
    problems = _unknown_keys(model_class, values)
    configs: list[BaseModel] = []
    for config in _configs(model_class):
        own = {key: value for key, value in values.items() if key in config.model_fields}
        try:  # as JSON: there, strict means what a person means (1 is no truth value, a list may be a tuple)
            configs.append(config.model_validate_json(json.dumps(own), strict=True))
        except ValidationError as error:
            problems += [_prefix(model_class) + _problem(detail, sources) for detail in error.errors(include_url=False)]
    if problems:
        raise UsageError(f"configuration of {model_class.name} ({recipe}): {'; '.join(problems)}")
    training = configs[1] if len(configs) > 1 else None
    assert isinstance(configs[0], ModelConfig) and (training is None or isinstance(training, TrainingConfig))
    keys = {key for config in _configs(model_class) for key in config.model_fields} - _given(model_class)
    sources = {key: sources.get(key, DEFAULT) for key in sorted(keys)}
    return Resolved(recipe, configs[0], training, sources)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["width=32", "loss=bce"]`` -> ``{"width": 32, "loss": "bce"}``: a TOML value, or else plain text."""
    parsed = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (equals and key.strip() and text.strip()):
            raise UsageError(f"--set {setting!r} is not of the form KEY=VALUE, as in --set width=32")
        parsed[key.strip()] = parse_value(text.strip())
    return parsed


def parse_value(text: str) -> Any:
    """A TOML value, or else plain text."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = document["value"]
    simple = len(document) == 1 and isinstance(value, bool | int | float | str | list)
    return value if simple else text


def _prefix(model_class: type[Recommender]) -> str:
    """What stands before a key where a person writes it."""
    return STAGE if issubclass(model_class, InstructedRecommender) else ""


def _given(model_class: type[Recommender]) -> set[str]:
    return set(GIVEN) if issubclass(model_class, InstructedRecommender) else set()


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


def _from_recipe(model_class: type[Recommender], recipe: str,
                 dataset: str) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Values and their sources, of the first stage (key "") and of the second (key STAGE)."""
    table = dict(_read(model_class).get(recipe, {}))
    by_dataset = table.pop("dataset", {})
    like = cards()[dataset].like if dataset in cards() else ""
    special = dict(by_dataset.get(dataset) or by_dataset.get(like, {}))
    found: dict[str, tuple[dict[str, Any], dict[str, str]]] = {"": ({}, {}), STAGE: ({}, {})}
    for label, whole in ((f"recipe {recipe}", table), (f"recipe {recipe} for {dataset}", special)):
        second = dict(whole.pop(STAGE.rstrip("."), {}))
        for stage, part in (("", whole), (STAGE, second)):
            source = part.pop("source", "")
            found[stage][0].update(part)
            found[stage][1].update(dict.fromkeys(part, f"{label}: {source}" if source else label))
    return found


def _unknown_keys(model_class: type[Recommender], values: Mapping[str, Any]) -> list[str]:
    known = sorted(known_keys(model_class) - _given(model_class))
    prefix = _prefix(model_class)
    return [f"unknown key {prefix + key!r}{nearest(prefix + key, [prefix + name for name in known])}"
            for key in values if key not in known]


def nearest(key: str, known: list[str]) -> str:
    """``, did you mean 'length'?``, or what there is."""
    near = closest(key, known, 1)
    return f", did you mean {near[0]!r}?" if near else f" (known: {', '.join(known) or 'none'})"


def _problem(detail: Any, sources: Mapping[str, str]) -> str:
    key = str(detail["loc"][0]) if detail["loc"] else "value"
    message = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    where = "" if sources.get(key) == OVERRIDE else f" (from {sources.get(key, 'the configuration')})"
    return f"{key} = {detail['input']!r} {message}{where}"
