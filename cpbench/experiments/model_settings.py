"""What can be set of a model: every key, its default, what the recipes make of it, and what it means."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from cpbench.experiments.recipes import DEFAULTS, known_fields, recipe_names, resolve, special_datasets
from cpbench.models.registry import model_class


@dataclass(frozen=True)
class Setting:
    """`recipes`: the value of each recipe where it is not the default's; `meaning` may be empty."""

    key: str
    default: Any
    recipes: dict[str, Any]
    meaning: str


@dataclass(frozen=True)
class ModelSettings:
    """`datasets` by recipe: those for which it has other values, which are not shown."""

    model: str
    recipes: list[str]
    settings: list[Setting]
    datasets: dict[str, list[str]]


def model_settings(name: str) -> ModelSettings:
    """The keys that ``--set`` and the recipes of the model `name` take. Raises UsageError for an unknown model."""
    found = model_class(name)
    recipes = [recipe for recipe in recipe_names(found) if recipe != DEFAULTS]
    values = {recipe: resolve(found, recipe, "", {}, with_condition=True).config for recipe in recipes}
    settings = []
    for key, field in known_fields(found).items():
        default = _plain(field.get_default(call_default_factory=True))
        own = {recipe: values[recipe][key] for recipe in recipes if values[recipe].get(key, default) != default}
        settings.append(Setting(key, default, own, " ".join((field.description or "").split())))
    return ModelSettings(name, recipes, settings, {recipe: special for recipe in recipes
                                          if (special := special_datasets(found, recipe))})


def _plain(value: Any) -> Any:
    """As it stands in a record."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else (
        list(value) if isinstance(value, tuple) else value)
