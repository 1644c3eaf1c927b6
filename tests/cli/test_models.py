"""`cpbench models`."""

import json
from pathlib import Path

from tests.cli.process import cpbench, on_a_terminal


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
    assert any("climber-pilot" in line and "TAMIP pre-training" in line for line in lines)
