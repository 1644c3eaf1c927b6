"""The last check of `cpbench check-model`: the recipe file beside a model's module, which `run` and `tune` read."""

from cpbench.errors import CpbenchError, UsageError
from cpbench.experiments.recipes import DEFAULTS, known_keys, nearest, recipe_names, resolve, special_datasets
from cpbench.experiments.search_space import model_space
from cpbench.models.base import Recommender
from cpbench.models.conformance import Check


def check_recipes(model_class: type[Recommender]) -> Check:
    """Every recipe can be resolved, on each dataset that it names, and the search table names settings and ranges."""
    try:
        recipes = [recipe for recipe in recipe_names(model_class) if recipe != DEFAULTS]
        for recipe in recipes:
            for dataset in ("", *special_datasets(model_class, recipe)):
                resolve(model_class, recipe, dataset, {}, with_condition=True)
        for key in model_space(model_class):
            if key not in known_keys(model_class):
                raise UsageError(f"search: unknown key {key!r}{nearest(key, sorted(known_keys(model_class)))}")
    except CpbenchError as error:
        return Check("recipes", False, str(error))
    file = f"{getattr(model_class, 'name', 'NAME')}.toml"
    return Check("recipes", True, "" if recipes else f"no {file} beside the module: only its defaults")
