"""The catalogue: what there is, what is ready, and what a name leads to."""

from pathlib import Path

import polars as pl
import pytest

from cpbench.data import catalogue
from cpbench.data.card import Filters
from cpbench.data.prepare import assemble
from cpbench.errors import UsageError
from tests.data.test_prepare import frame, no_items


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def keep(name: str, exclude_seen: bool = True) -> None:
    assemble(name, frame([("a", "x", 1), ("a", "y", 2)]), no_items, Filters(),
             {"exclude_seen": exclude_seen}).save(catalogue.prepared_folder(name))


def test_an_empty_cache() -> None:
    assert catalogue.ready_names() == []
    assert catalogue.is_ready("streaming")
    assert not catalogue.is_ready("ml-1m")
    assert {"streaming", "ml-1m"} <= set(catalogue.known_names())


def test_prepared_data_and_ones_own(cache: Path) -> None:
    keep("ml-100k")
    keep("mine", exclude_seen=False)
    keep("streaming")
    (cache / "prepared" / ".half.tmp").mkdir()
    (cache / "prepared" / "no-manifest").mkdir()
    assert catalogue.ready_names() == ["ml-100k", "mine"]
    assert catalogue.own_names() == ["mine"]
    assert catalogue.is_ready("mine")
    assert catalogue.load("mine").n_interactions == 2
    assert catalogue.exclude_seen_default("mine") is False
    assert catalogue.exclude_seen_default("ml-100k") is True
    assert catalogue.exclude_seen_default("streaming") is False


def test_what_is_not_prepared_names_the_command() -> None:
    with pytest.raises(UsageError, match="dataset 'ml-1m' is not prepared yet: run `cpbench download ml-1m`"):
        catalogue.load("ml-1m")


@pytest.mark.parametrize("name", ["ml1m", "../ml-1m", ""])
def test_what_does_not_exist(name: str) -> None:
    keep("mine")
    with pytest.raises(UsageError, match=r"unknown dataset .*Known: .*mine"):
        catalogue.load(name)
    with pytest.raises(UsageError, match="unknown dataset"):
        catalogue.exclude_seen_default(name)
    assert not catalogue.is_ready(name)


@pytest.mark.parametrize("damaged", ["manifest.json", "interactions.parquet", "items.parquet"])
def test_damaged_prepared_data_say_how_to_mend_them(damaged: str) -> None:
    keep("ml-100k")
    (catalogue.prepared_folder("ml-100k") / damaged).write_bytes(b"PAR1 nonsense")
    with pytest.raises(UsageError, match="cpbench download ml-100k --force"):
        catalogue.load("ml-100k")
    keep("mine")
    (catalogue.prepared_folder("mine") / damaged).write_bytes(b"PAR1 nonsense")
    with pytest.raises(UsageError, match=r"its own `cpbench download mine --from FILE \.\.\. --force`"):
        catalogue.load("mine")


@pytest.mark.parametrize("text", ["", "[]", "{}", '"text"', '{"name": '])
def test_a_manifest_that_is_none(text: str) -> None:
    keep("mine")
    (catalogue.prepared_folder("mine") / "manifest.json").write_text(text)
    for read in (catalogue.load, catalogue.manifest, catalogue.exclude_seen_default):
        with pytest.raises(UsageError, match=r"manifest\.json cannot be read .*download mine --from FILE"):
            read("mine")


def test_signals_survive(tmp_path: Path) -> None:
    from dataclasses import replace

    made = assemble("mine", frame([("a", "x", 1), ("a", "y", 2)]), no_items, Filters(), {})
    replace(made, signals=pl.DataFrame({"like": [True, False]})).save(catalogue.prepared_folder("mine"))
    signals = catalogue.load("mine").signals
    assert signals is not None
    assert signals["like"].to_list() == [True, False]
