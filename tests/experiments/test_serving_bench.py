"""What `cpbench bench serve` measures, and on what; that it is fast is for `make gates` to say."""

from dataclasses import replace

import polars as pl
import pytest
import torch

from cpbench.errors import UsageError
from cpbench.experiments.serving_bench import CONDITIONS, Workload, made_up, measure, of_run
from cpbench.experiments.stored import load_run
from cpbench.models.base import Histories
from tests.experiments.test_instruct import FIRST, SHORT, go, home  # noqa: F401 (home is a fixture)
from tests.experiments.tiny import place, tiny


def test_a_recorded_run_is_asked_for_the_frequent_values_of_its_users(tmp_path, home):  # noqa: F811
    few = tiny()
    table = few.item_table.with_columns(genre=pl.Series([[f"g{item % 9}"] for item in range(few.n_items)]))
    place(home, replace(few, item_table=table))
    go(tmp_path)
    stored = load_run("condition=genre", tmp_path)
    served = of_run(stored, 5)
    histories = Histories.of_events(stored.split.dataset, stored.split.test, 0, 5)
    first = [[item % 9 for item in row[row >= 0].tolist()] for row in histories.items.split(histories.lengths.tolist())]
    for row, values in enumerate(served.values.tolist()):
        assert first[row].count(values[0]) == max(map(first[row].count, range(9))) and len(set(values)) == CONDITIONS
    assert all(value > 0 for value in measure(served, 1).values())


def test_other_runs_are_refused(tmp_path):
    go(tmp_path, condition=None, overrides=FIRST)
    with pytest.raises(UsageError, match="was not trained for a condition"):
        of_run(load_run("climber-pilot", tmp_path), 5)
    go(tmp_path, overrides=SHORT)
    with pytest.raises(UsageError, match="genre has 3 values"):
        of_run(load_run("condition=genre", tmp_path), 5)


def test_an_approximate_search_states_its_recall():
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    served = made_up(Workload(users=3, length=6, width=20, items=80))
    with torch.no_grad():  # well spread vectors: on 80 of them the index finds all
        served.model.pilot.items.identity.weight.normal_()
    result = measure(served, 1, index=True)
    assert result["hnsw_recall"] > 0.95 and result["hnsw_eight_ms"] > 0
    assert "hnsw_recall" not in measure(served, 1)
