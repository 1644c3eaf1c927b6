"""Made-up records."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cpbench.data.protocol import Protocol
from cpbench.report.evidence import Run
from cpbench.report.place import run_folder
from cpbench.report.record import RunRecord


def record(model: str = "sasrec", seed: int = 1, hr: float = 0.5, **changes: Any) -> RunRecord:
    document: dict[str, Any] = {
        "model": model,
        "dataset": "tiny",
        "protocol": Protocol(),
        "seed": seed,
        "recipe": "tuned",
        "config": {"width": 64, "loss": "bce"},
        "config_sources": {"width": "default", "loss": "default"},
        "information": [],
        "metrics": {"valid": {"HR@10": hr}, "test": {"HR@5": hr / 2, "HR@10": hr, "NDCG@10": hr / 3, "MRR": hr / 4}},
        "notes": {"events": 40.0},
        "cost": {"fit_seconds": 12.0, "evaluate_seconds": 0.5, "epochs": 3, "best_epoch": 2,
                 "peak_rss_bytes": 100_000_000, "parameters": 45_100},
        "dataset_fingerprint": "aaaa",
        "dataset_counts": {"users": 40, "items": 300, "interactions": 480},
        "versions": {"python": "3.11"},
        "machine": {"cpu": "a processor", "threads": 2, "device": "cpu", "system": "Linux x86_64"},
        "commit": None,
        "dirty": None,
        "command": "cpbench run",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
    }
    return RunRecord.model_validate({**document, **changes})


def store(results: Path, made: RunRecord, run: str | None = None) -> Path:
    """Where `cpbench run` would put it."""
    folder = run_folder(results, made.dataset, made.protocol, made.model, run or f"{made.recipe}-seed{made.seed}")
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(made.model_dump_json())
    return folder


def runs(records: Iterable[RunRecord]) -> list[Run]:
    """As if they had been read from a folder that is gone."""
    return [Run(each, Path("gone") / each.model / f"{each.recipe}-seed{each.seed}") for each in records]
