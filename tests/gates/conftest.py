"""Real data and trained models for the gates: made once from the shared mirror, found again by every later run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cpbench.data.card import card
from cpbench.data.dataset import Dataset
from cpbench.data.prepare import prepare

Trained = Callable[..., dict[str, Any]]
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


@pytest.fixture
def trained(prepared: Callable[[str], Dataset], home: Path) -> Trained:
    """``trained(model, dataset, "--recipe", ...)`` is the record of that run, and its `folder`."""

    def run(model: str, dataset: str, *options: str) -> dict[str, Any]:
        prepared(dataset)
        command = [sys.executable, "-m", "cpbench", "run", "--model", model, "--dataset", dataset, *options,
                   "--results", str(home / "results"), "--json"]
        done = subprocess.run(command, env={**os.environ, "CPBENCH_HOME": str(home)}, stdout=subprocess.PIPE,
                              text=True, check=True)
        [outcome] = json.loads(done.stdout)["runs"]
        record: dict[str, Any] = outcome["record"]
        metrics, cost = record["metrics"]["test"], record["cost"]
        print(f"\n{record['command']}: HR@10 {metrics['HR@10']:.4f} NDCG@10 {metrics['NDCG@10']:.4f}, "
              f"{cost['epochs']} epochs (best {cost['best_epoch']}), {cost['fit_seconds']:.0f} s, "
              f"{cost['peak_rss_bytes'] / 1e9:.2f} GB")
        return record | {"folder": outcome["folder"]}

    return run
