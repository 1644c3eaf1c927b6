"""What a newcomer wants to know of every registered model before running it."""

from dataclasses import dataclass

import numpy as np

from cpbench.data.dataset import Attribute
from cpbench.errors import CpbenchError, on_one_line
from cpbench.experiments.recipes import DEFAULTS, recipe_names
from cpbench.models.base import Facts, NeuralRecommender, Recommender
from cpbench.models.registry import distribution, family_class, family_names, model_class, model_names


@dataclass(frozen=True)
class ModelSummary:
    """`information` beside item ids, at the class's defaults and where items have a genre; `error` says why a
    registered model cannot be used."""

    name: str
    package: str
    description: str = ""
    information: tuple[str, ...] = ()
    trained_by: str = ""
    recipes: tuple[str, ...] = ()
    error: str = ""


def registered_models() -> list[ModelSummary]:
    """Every registered model, then every family, by name. One that is broken does not hide the others."""
    return [*map(_summary, model_names()), *map(_family, family_names())]


def _family(name: str) -> ModelSummary:
    try:
        found = family_class(name)
        return ModelSummary(f"{name}:NAME", distribution(name), found.describe(), found.information, found.trained_by)
    except CpbenchError as error:
        return ModelSummary(f"{name}:NAME", distribution(name), error=" ".join(str(error).split()))


def _summary(name: str) -> ModelSummary:
    try:
        found = model_class(name)
        recipes = tuple(recipe for recipe in recipe_names(found) if recipe != DEFAULTS)
        own = "its own fit" if found.seeded else "counts"
        trained_by = "gradients" if issubclass(found, NeuralRecommender) else own
        lines = (found.__doc__ or "").strip().splitlines()
        return ModelSummary(name, distribution(name), lines[0] if lines else "", _information(found), trained_by,
                            recipes)
    except CpbenchError as error:
        return ModelSummary(name, distribution(name), error=" ".join(str(error).split()))
    except Exception as error:  # a half-written model may do anything where it is built
        reason = f"cannot be built from its defaults ({on_one_line(error)})"
        return ModelSummary(name, distribution(name), error=reason)


def _information(found: type[Recommender]) -> tuple[str, ...]:
    genre = Attribute(["any"], np.zeros(1, dtype=np.int32), np.array([0, 1], dtype=np.int64))
    return tuple(found(found.Config(), Facts(1, {"genre": genre})).information)
