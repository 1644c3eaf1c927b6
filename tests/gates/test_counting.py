"""The counting models on Amazon Beauty and Sports equal what an independent script measured on the S3-Rec files.

Leave-one-out, whole catalogue, seen items excluded, equal scores share the middle rank (docs/baselines.md).
"""

from collections.abc import Callable

import pytest

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Protocol, split
from cpbench.evaluation.evaluate import evaluate
from cpbench.experiments.recipes import resolve
from cpbench.models.base import Facts
from cpbench.models.registry import model_class

METRICS = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")
MEASURED = {
    ("amazon-beauty", "popularity"): (0.0068, 0.0039, 0.0110, 0.0053),
    ("amazon-beauty", "item-knn"): (0.0441, 0.0300, 0.0633, 0.0362),
    ("amazon-beauty", "seq-item-knn"): (0.0605, 0.0444, 0.0819, 0.0513),
    ("amazon-beauty", "ease"): (0.0477, 0.0315, 0.0699, 0.0386),
    ("amazon-sports", "popularity"): (0.0057, 0.0041, 0.0091, 0.0052),
    ("amazon-sports", "item-knn"): (0.0317, 0.0207, 0.0478, 0.0259),
    ("amazon-sports", "seq-item-knn"): (0.0374, 0.0268, 0.0492, 0.0307),
    ("amazon-sports", "ease"): (0.0311, 0.0201, 0.0473, 0.0253),
}


@pytest.mark.gate
@pytest.mark.parametrize(("dataset", "name"), MEASURED, ids=map("/".join, MEASURED))
def test_tuned_recipe_gives_the_measured_row(prepared: Callable[[str], Dataset], dataset: str, name: str) -> None:
    data = prepared(dataset)
    made = split(data, Protocol())
    found = model_class(name)
    model = found(resolve(found, "tuned", dataset, {}).model, Facts.of(data))
    model.fit(made, seed=0)
    metrics = evaluate(model, made, made.test, only_accuracy=True).metrics
    assert [metrics[metric] for metric in METRICS] == pytest.approx(MEASURED[dataset, name], abs=0.0003)
