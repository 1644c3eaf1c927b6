"""A third party's model, in a package of its own, found through the entry point: nothing in cpbench knows it."""

import json
from pathlib import Path

import pytest

from tests.cli.process import own_process

MODEL = '''
"""Somebody else's model."""

import torch
from cpbench.models.base import ModelConfig, Recommender


class NewestConfig(ModelConfig):
    boost: float = 1.0


class Newest(Recommender):
    """Popularity, and what shares a user with the newest item."""

    name = "newest"
    Config = NewestConfig

    def fit(self, split, seed):
        items, ends = split.dataset.items, split.train_end
        self.pairs = torch.zeros(self.facts.n_items, self.facts.n_items)
        for first, last in zip(split.dataset.offsets[:-1], ends):
            row = torch.from_numpy(items[first:last].astype("int64"))
            self.pairs[row[:, None], row] += self.config.boost
        self.counts = torch.from_numpy(split.train_counts).float()

    def score(self, histories):
        scores = self.counts.repeat(len(histories), 1)
        some = histories.lengths > 0
        scores[some] = self.pairs[histories.items[histories.offsets[1:][some] - 1]]
        return scores

    def tensors(self):
        return {"pairs": self.pairs, "counts": self.counts}

    def load_tensors(self, tensors):
        self.pairs, self.counts = tensors["pairs"], tensors["counts"]
'''
MODEL += '''

class Begun(Recommender):
    name = "begun"

    def __init__(self, config, facts):
        super().__init__(config, facts)
        self.width = config.width
'''
RECIPES = '[tuned]\nboost = 2.0\nsource = "made up"\n'


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """What `pip install` leaves behind of a package with an entry point, for PYTHONPATH."""
    site = tmp_path / "site"
    package, information = site / "somebody_elses", site / "somebody_elses_models-1.0.dist-info"
    package.mkdir(parents=True)
    information.mkdir()
    (package / "__init__.py").write_text("")
    (package / "newest.py").write_text(MODEL)
    (package / "newest.toml").write_text(RECIPES)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody-elses-models\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[cpbench.models]\nnewest = somebody_elses.newest:Newest\n"
                                                  "broken = somebody_elses.missing:Model\n"
                                                  "renamed = somebody_elses.newest:Newest\n"
                                                  "begun = somebody_elses.newest:Begun\n")
    return site


def test_models_lists_it_beside_ours_and_says_what_is_broken(tmp_path: Path, plugin: Path) -> None:
    done = own_process(tmp_path, "models", "--json", PYTHONPATH=str(plugin))
    assert done.returncode == 0, done.stderr
    listed = {model["name"]: model for model in json.loads(done.stdout)["models"]}
    assert listed["newest"] == {
        "name": "newest", "package": "somebody-elses-models", "error": "", "information": [], "recipes": ["tuned"],
        "description": "Popularity, and what shares a user with the newest item.", "trained_by": "counts"}
    assert listed["ease"]["package"] == "cpbench"
    assert "No module named 'somebody_elses.missing'" in listed["broken"]["error"]
    assert "cannot be built from its defaults (TypeError: Can't instantiate" in listed["begun"]["error"]
    assert "calls itself 'newest': the entry point and the class's `name` must agree" in listed["renamed"]["error"]


def test_check_model_examines_it_by_name_and_by_class(tmp_path: Path, plugin: Path) -> None:
    for reference in ("newest", "somebody_elses.newest:Newest"):
        done = own_process(tmp_path, "check-model", reference, "--json", PYTHONPATH=str(plugin))
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["ok"]


def test_check_model_reads_the_recipes(tmp_path: Path, plugin: Path) -> None:
    for text, message in (("[tuned]\nbost = 2.0\n", "bost"), ("[tuned.dataset.ml-1m]\nboost = 'much'\n", "boost"),
                          ("[search]\nbost = '1.0..2.0'\n", "search: unknown key 'bost', did you mean 'boost'?"),
                          ("[search]\nboost = 'nonsense..'\n", "boost=nonsense..")):
        (plugin / "somebody_elses" / "newest.toml").write_text(text)
        done = own_process(tmp_path, "check-model", "newest", "--json", PYTHONPATH=str(plugin))
        failed = [each for each in json.loads(done.stdout)["checks"] if not each["ok"]]
        assert done.returncode == 1 and [each["name"] for each in failed] == ["recipes"]
        assert message in failed[0]["message"]
