"""Real data for the gates: prepared once from the shared mirror, found again by every later run."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cpbench.data.card import card
from cpbench.data.dataset import Dataset
from cpbench.data.prepare import prepare

ROOT = Path(__file__).parents[2]
MIRROR = ROOT.parent / "shared" / "data" / "mirror"


@pytest.fixture(scope="session")
def home() -> Path:
    """The data cache of the gates: $CPBENCH_HOME where it is set, else `.gates/` in the repository (ignored by git)."""
    return Path(os.environ.get("CPBENCH_HOME") or ROOT / ".gates")


@pytest.fixture(scope="session")
def prepared(home: Path) -> Callable[[str], Dataset]:
    """``prepared(name)`` is the Dataset of that card; it skips the test where the shared data are absent."""

    @cache
    def load(name: str) -> Dataset:
        folder = home / "prepared" / name
        if not (folder / "manifest.json").exists():
            files = {source.role: MIRROR / source.mirror for source in card(name).files}
            missing = [path for path in files.values() if not path.exists()]
            if missing:
                pytest.skip(f"no shared data: {missing[0].name} is not in ../shared/data/mirror")
            prepare(card(name), files).save(folder)
        return Dataset.load(folder)

    return load
