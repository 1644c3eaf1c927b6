import tomllib
from pathlib import Path

import pytest
from pydantic import Field

from cpbench.errors import UsageError
from cpbench.experiments import recipes
from cpbench.experiments.recipes import SEARCH, choose_recipe, parse_settings, resolve
from cpbench.models.base import InstructedRecommender, ModelConfig, NeuralRecommender, Recommender
from cpbench.models.registry import model_class, model_names

RECIPES = """
[tuned]
source = "a search of ours"
shrink = 5.0
epochs = 7

[tuned.sft]
source = "a smaller search"
method = "clever"
epochs = 3
batch_size = 9

[tuned.dataset.beauty]
source = "the same search on beauty"
shrink = 9.0

[tuned.dataset.beauty.sft]
batch_size = 11

[paper]
shrink = 1.0
"""


class Config(ModelConfig):
    shrink: float = Field(0.0, ge=0)
    names: tuple[str, ...] = ()
    full: bool = False


class StageConfig(ModelConfig):
    pilot: Config = Config()
    condition: str = "auto"
    method: str = "plain"


class Stage(InstructedRecommender):
    name = "trained-instructed"
    Config = StageConfig


class Trained(NeuralRecommender):
    name = "trained"
    Config = Config

    @classmethod
    def instructed(cls):
        return Stage


class Counted(Recommender):
    name = "counted"
    Config = Config


@pytest.fixture(autouse=True)
def recipe_file(tmp_path, monkeypatch):
    path = tmp_path / "trained.toml"
    path.write_text(RECIPES)
    monkeypatch.setattr(Trained, "recipe_file", classmethod(lambda cls: path))
    monkeypatch.setattr(Counted, "recipe_file", classmethod(lambda cls: None))
    return path


def test_later_sources_win_and_every_key_says_where_it_came_from():
    resolved = resolve(Trained, "tuned", "beauty", {"full": True})
    assert (resolved.config["shrink"], resolved.config["epochs"], resolved.config["full"]) == (9.0, 7, True)
    assert resolved.sources["shrink"] == "recipe tuned for beauty: the same search on beauty"
    assert resolved.sources["epochs"] == "recipe tuned: a search of ours"
    assert resolved.sources["full"] == "--set" and resolved.sources["learning_rate"] == "default"
    assert resolved.overrides == {"full": True}
    assert set(resolved.sources) == set(resolved.config)
    assert resolve(Trained, "tuned", "sports", {}).config["shrink"] == 5.0
    assert resolve(Trained, "paper", "beauty", {}).config["shrink"] == 1.0


def test_a_counted_model_has_no_training_settings():
    resolved = resolve(Counted, "defaults", "beauty", {})
    assert resolved.training is None and resolved.config == {"shrink": 0.0, "names": [], "full": False}
    with pytest.raises(UsageError, match="unknown key 'epochs'"):
        resolve(Counted, "defaults", "beauty", {"epochs": 3})


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_a_record_cannot_hold_is_refused(value):
    """JSON has no infinity: read back, the record would be that of another run."""
    with pytest.raises(UsageError, match=r"shrink = .* should be a finite number"):
        resolve(Trained, "tuned", "beauty", {"shrink": value})


def test_all_problems_stand_in_one_sentence():
    with pytest.raises(UsageError) as caught:
        resolve(Trained, "tuned", "beauty", {"shrnk": 1, "shrink": -1, "full": 1, "batch_size": True})
    text = str(caught.value)
    assert text.startswith("configuration of trained (tuned): unknown key 'shrnk', did you mean 'shrink'?; ")
    assert "shrink = -1 should be greater than or equal to 0" in text
    assert "full = 1 should be a valid boolean" in text
    assert "batch_size = True should be a valid integer" in text


def test_a_wrong_recipe_says_that_the_recipe_is_wrong(recipe_file: Path):
    recipe_file.write_text("[tuned]\nepochs = 0\nlenght = 3\n")
    with pytest.raises(UsageError, match=r"unknown key 'lenght'.*epochs = 0 should be .* \(from recipe tuned\)"):
        resolve(Trained, "tuned", "beauty", {})
    recipe_file.write_text("[tuned")
    with pytest.raises(recipes.CpbenchError, match=r"the recipes of trained in trained\.toml cannot be read"):
        resolve(Trained, "tuned", "beauty", {})


def test_recipes_are_chosen_by_name_or_stand_in_for_each_other():
    assert choose_recipe(Trained, "paper") == "paper"
    assert choose_recipe(Counted, "paper") == choose_recipe(Counted, "tuned") == "defaults"
    with pytest.raises(UsageError, match="unknown recipe of trained 'papr'; did you mean 'paper'"):
        resolve(Trained, "papr", "beauty", {})


@pytest.mark.parametrize(("setting", "value"), [
    ("a=3", 3), ("a=3.5", 3.5), ("a=1e30", 1e30), ("a=true", True), ("a=bce", "bce"), ("a='3'", "3"),
    ("a=sampled-softmax", "sampled-softmax"), ("a=[1, 2]", [1, 2]), ("a=x=y", "x=y"), ("a=2014-05-01", "2014-05-01"),
    ("a=1\nb=2", "1\nb=2"), (" a = 3 ", 3),
])
def test_values_are_toml_or_else_text(setting, value):
    assert parse_settings([setting]) == {"a": value}


@pytest.mark.parametrize("setting", ["a", "=3", "a=", ""])
def test_a_setting_needs_a_key_and_a_value(setting):
    with pytest.raises(UsageError, match="is not of the form KEY=VALUE"):
        parse_settings([setting])


def test_a_list_may_be_a_tuple():
    assert resolve(Trained, "defaults", "beauty", {"names": ["a"]}).config["names"] == ["a"]


def test_the_second_stage_has_settings_of_its_own_from_the_same_places():
    resolved = resolve(Trained, "tuned", "beauty", {"epochs": 5, "sft.learning_rate": 0.5}, with_condition=True)
    config, sources = resolved.config, resolved.all_sources
    assert (config["epochs"], config["sft.epochs"]) == (5, 3)
    assert (config["sft.method"], config["sft.batch_size"], config["sft.learning_rate"]) == ("clever", 11, 0.5)
    assert sources["sft.method"] == "recipe tuned: a smaller search"
    assert sources["sft.batch_size"] == "recipe tuned for beauty"
    assert sources["sft.learning_rate"] == "--set" and sources["sft.patience"] == "default"
    assert sources["shrink"] == "recipe tuned for beauty: the same search on beauty"
    assert resolved.overrides == {"epochs": 5, "sft.learning_rate": 0.5}
    assert set(sources) == set(config) and not {"sft.pilot", "sft.condition"} & set(config)
    assert resolve(Trained, "tuned", "sports", {}, with_condition=True).config["sft.batch_size"] == 9
    assert resolve(Trained, "paper", "beauty", {}, with_condition=True).config["sft.method"] == "plain"


def test_without_a_condition_there_is_no_second_stage():
    resolved = resolve(Trained, "tuned", "beauty", {})
    assert resolved.second is None and not any(key.startswith("sft.") for key in resolved.config)
    assert resolve(Counted, "defaults", "beauty", {}, with_condition=True).second is None
    assert {"sft.method", "sft.epochs"} <= recipes.known_keys(Trained)
    assert not any(key.startswith("sft.") for key in recipes.known_keys(Counted))


def test_a_wrong_setting_of_the_second_stage_is_named_as_it_was_given(recipe_file: Path):
    with pytest.raises(UsageError, match=r"trained-instructed \(tuned\): unknown key 'sft\.metod', did you mean "
                                         r"'sft\.method'\?; sft\.epochs = 0 should be greater"):
        resolve(Trained, "tuned", "beauty", {"sft.metod": "x", "sft.epochs": 0}, with_condition=True)
    recipe_file.write_text("[tuned.sft]\ncondition = 'genre'\n")
    with pytest.raises(UsageError, match=r"unknown key 'sft\.condition'"):
        resolve(Trained, "tuned", "beauty", {}, with_condition=True)


@pytest.mark.parametrize("name", model_names())
def test_every_recipe_of_every_model_is_valid_and_says_where_it_comes_from(name: str):
    path = model_class(name).recipe_file()
    assert path is not None
    for recipe, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
        assert table["source"]
        if recipe == SEARCH:
            continue
        for dataset in ["any other", *table.get("dataset", {})]:
            resolve(model_class(name), recipe, dataset, {})
