"""`cpbench models`."""

import json
from pathlib import Path

import pytest

from cpbench.experiments.model_settings import model_settings
from cpbench.experiments.recipes import DEFAULTS, resolve
from cpbench.models.registry import model_class, model_names
from tests.cli.process import cpbench, on_a_terminal
from tests.cli.refusal import refused


def test_every_model_with_what_it_sees_and_how_it_learns(tmp_path: Path) -> None:
    done = cpbench(tmp_path, "models", "--json")
    assert done.returncode == 0, done.stderr
    listed = {model["name"]: model for model in json.loads(done.stdout)["models"]}
    assert set(listed) >= {"popularity", "recent-popularity", "item-knn", "seq-item-knn", "ease", "sasrec",
                           "hstu", "climber-pilot"}
    assert listed["ease"]["information"] == []
    assert listed["recent-popularity"]["information"] == ["times"]
    assert listed["climber-pilot"]["information"] == ["times", "categories"]
    assert listed["hstu"]["information"] == ["times"]  # recipes that look at the request time say so in their records
    assert (listed["ease"]["trained_by"], listed["sasrec"]["trained_by"]) == ("counts", "gradients")
    for name in ("popularity", "recent-popularity", "item-knn", "seq-item-knn", "ease"):
        assert listed[name]["recipes"] == ["tuned"]
    assert all(model["description"] and not model["error"] for model in listed.values())


def test_the_table_for_people(tmp_path: Path) -> None:
    done = cpbench(tmp_path, "models")
    assert done.returncode == 0, done.stderr
    assert "uses ids and" in done.stdout
    for name in ("popularity", "seq-item-knn", "climber-pilot"):
        assert name in done.stdout


def test_a_terminal_of_usual_width_has_whole_words(tmp_path: Path) -> None:
    lines = on_a_terminal(tmp_path, 80, "models")
    assert not any("…" in line for line in lines)
    assert any("climber-pilot" in line and "times, categories" in line for line in lines)
    assert any("climber-pilot" in line and "Predicts K items ahead" in line for line in lines)


def test_the_settings_of_a_model_with_what_they_mean(tmp_path: Path) -> None:
    document = json.loads(cpbench(tmp_path, "models", "sasrec", "--json").stdout)
    settings = {each["key"]: each for each in document["settings"]}
    assert document["recipes"] == ["tuned", "paper"] and "lastfm" in document["datasets"]["tuned"]
    assert settings["loss"] == {"key": "loss", "default": "softmax", "recipes": {"paper": "bce"}, "meaning": ""}
    assert settings["patience"]["meaning"].startswith("Stop after this many validations")
    lines = on_a_terminal(tmp_path, 80, "models", "climber-pilot")
    assert any("sft.learning_rate" in line for line in lines) and not any("…" in line for line in lines)
    assert "unknown model 'sasrek'; did you mean 'sasrec'" in refused(cpbench(tmp_path, "models", "sasrek"), 2)


@pytest.mark.parametrize("name", model_names())
def test_the_settings_are_what_set_takes(name: str) -> None:
    recorded = resolve(model_class(name), DEFAULTS, "tiny", {}, with_condition=True).config
    assert {each.key: each.default for each in model_settings(name).settings} == recorded
