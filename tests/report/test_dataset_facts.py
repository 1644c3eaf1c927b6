"""What a report says of datasets that lie on this machine."""

from pathlib import Path

import pytest

from cpbench.data.catalogue import prepared_folder
from cpbench.report.dataset_facts import inspected
from cpbench.report.tables import comparison_tables
from tests.data.test_describe import made
from tests.report.records import record, runs


def test_only_the_very_same_data_and_nothing_is_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path))
    dataset = made([("a", "x", 0), ("a", "y", 60), ("b", "x", 10)])
    for name in ("same", "changed", "damaged"):
        dataset.save(prepared_folder(name))
    (prepared_folder("damaged") / "manifest.json").write_text("{")
    own = {"dataset_fingerprint": dataset.fingerprint}
    tables, _ = comparison_tables(runs([
        record(dataset="same", **own), record(dataset="changed"), record(dataset="absent"), record(dataset="streaming"),
        record(dataset="../same", **own)]))
    found = inspected(tables)
    assert list(found) == [dataset.fingerprint] and found[dataset.fingerprint]["users"] == 2
    tables, _ = comparison_tables(runs([record(dataset="damaged", **own), record(dataset="changed")]))
    assert inspected(tables) == {}
    assert not prepared_folder("streaming").exists()
