"""Made-up tables with evidence on disk."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cpbench.evaluation.metrics import accuracy, horizon
from cpbench.report.evidence import Run
from cpbench.report.figures.style import Drawn
from cpbench.report.record import RunRecord
from cpbench.report.significance import with_statistics
from cpbench.report.tables import ComparisonTable, comparison_tables
from tests.report.records import record, store

USERS = 60


def ranks(quality: float, seed: int = 1, steps: int = 1) -> np.ndarray:
    """[USERS, steps]: the better, the nearer to 1."""
    generator = np.random.default_rng(seed)
    return np.ceil(generator.exponential(10 / quality, (USERS, steps))) + 0.0


def run(results: Path, made: RunRecord, quality: float = 1.0, curve: Mapping[int, float] | None = None,
        steps: int = 1, ranked: bool = True) -> Run:
    """`made` with the metrics that its ranks give, stored with them and a validation curve by epoch."""
    own = ranks(quality, made.seed, steps)
    test = {**accuracy(own[:, 0]), **(horizon(own) if steps > 1 else {}),
            **{name: value for name, value in made.metrics.test.items() if name.startswith("CC")}}
    made = made.model_copy(update={"metrics": made.metrics.model_copy(update={"test": test})})
    folder = store(results, made, f"{made.recipe}-{abs(hash(json.dumps(made.config, sort_keys=True)))}-{made.seed}")
    if ranked:
        columns = {"rank" if step == 0 else f"rank {step + 1}": own[:, step] for step in range(steps)}
        pl.DataFrame({"user": np.arange(USERS), "target": np.arange(USERS), **columns}).write_parquet(
            folder / "ranks.parquet")
    if curve is not None:
        points = [{"epoch": epoch, "valid": None if value is None else {"NDCG@10": value}}
                  for epoch, value in curve.items()]
        (folder / "curve.json").write_text(json.dumps(points))
    return Run(made, folder)


def tables(runs: Iterable[Run]) -> list[ComparisonTable]:
    return with_statistics(comparison_tables(runs)[0])[0]


def setting(name: str, value: Any, **changes: Any) -> RunRecord:
    """A record with one setting given by hand."""
    return record(config={"width": 64, name: value}, config_sources={"width": "default", name: "--set"}, **changes)


def written(drawn: Drawn) -> list[bytes]:
    """The three files of a figure."""
    found = [drawn.path(form).read_bytes() for form in ("png", "svg", "pdf")]
    assert found[0].startswith(b"\x89PNG") and b"<svg" in found[1] and found[2].startswith(b"%PDF")
    return found


def texts(figure: Any) -> list[str]:
    """Everything that is written in a figure."""
    from matplotlib.text import Text

    return [found.get_text() for found in figure.findobj(Text) if found.get_text()]
