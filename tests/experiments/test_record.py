import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.exceptions import ComputeError
from safetensors import SafetensorError

from cpbench.data.fetch import checksum
from cpbench.data.protocol import Events, Protocol, split
from cpbench.errors import CpbenchError
from cpbench.experiments.record import about_data, write_run
from cpbench.report.record import load_record
from tests.experiments.tiny import tiny
from tests.report.records import record

EVENTS = Events(*(np.array([0, 2]) for _ in range(4)))


def test_a_record_names_the_files_that_are_not_official():
    known = {"a.gz": False, "b.gz": True, "c.gz": "unknown"}
    data = replace(tiny(), manifest={"sources": [{"file": name, "official": each} for name, each in known.items()]})
    assert about_data(split(data, Protocol()), "now", torch.device("cpu"))["dataset_unofficial"] == ["a.gz"]
    assert about_data(split(tiny(), Protocol()), "now", torch.device("cpu"))["dataset_unofficial"] == []


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def save(self, folder: Path) -> None:
        (folder.parent / "half").write_text("half")
        raise self.error


@pytest.mark.parametrize("error", [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ComputeError("parquet: underlying IO error: No space left on device"),
])
def test_a_full_disk_leaves_the_record_that_was_there(tmp_path, error):
    folder = tmp_path / "run"
    write_run(folder, record(hr=0.1))
    with pytest.raises(CpbenchError, match=r"cannot write .*run: .*No space left on device.*; nothing was left behind"):
        write_run(folder, record(hr=0.9), EVENTS, np.ones(2), [], Failing(error))
    assert load_record(folder) == record(hr=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_evidence_lies_beside_the_record(tmp_path):
    write_run(tmp_path / "run", record(), EVENTS, np.array([1.5, np.inf]), [{"loss": float("nan")}])
    ranks = pl.read_parquet(tmp_path / "run" / "ranks.parquet")
    assert ranks.schema == {"user": pl.Int32, "target": pl.Int64, "rank": pl.Float64}
    assert ranks["rank"].to_list() == [1.5, float("inf")]
    assert "null" in (tmp_path / "run" / "curve.json").read_text()


def test_a_horizon_adds_a_column_a_step_and_others_their_own(tmp_path):
    steps = np.array([[1.0, 2.0, 3.5], [4.0, 5.0, np.inf]])
    write_run(tmp_path / "run", record(), EVENTS, steps, other_ranks={"rank, pre-training: none": np.array([7.0, 8.0])})
    ranks = pl.read_parquet(tmp_path / "run" / "ranks.parquet")
    assert ranks.columns == ["user", "target", "rank", "rank 2", "rank 3", "rank, pre-training: none"]
    assert ranks["rank 3"].to_list() == [3.5, float("inf")] and ranks["rank"].to_list() == [1.0, 4.0]


def test_a_record_holds_the_checksums_of_its_evidence_and_counts_the_looks(tmp_path):
    folder = tmp_path / "run"
    for look in (1, 2):
        write_run(folder, record(), EVENTS, np.array([1.5, np.inf]))
        written = load_record(folder)
        assert written.test_looks == look
        assert written.checksums == {name: checksum(folder / name) for name in ("curve.json", "ranks.parquet")}
    (folder / "record.json").write_text("{")
    write_run(folder, record())
    assert load_record(folder).test_looks == 2
