"""Writing a RunRecord with the evidence beside it: a run's folder appears whole or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from polars.exceptions import PolarsError
from pydantic_core import to_json
from safetensors import SafetensorError

from cpbench.data.fetch import checksum
from cpbench.data.protocol import Events, Split
from cpbench.errors import CpbenchError
from cpbench.experiments import environment
from cpbench.experiments.plan import Cell
from cpbench.files import atomic_folder
from cpbench.models.base import Recommender
from cpbench.report.evidence import RANKS
from cpbench.report.record import FILE_NAME, RunRecord, load_record


def about_data(part: Split, started: str, device: torch.device, libraries: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a RunRecord that say on which data it was made, when, and under which circumstances."""
    return {"dataset_fingerprint": part.dataset.fingerprint, "dataset_counts": part.dataset.counts(),
            "dataset_unofficial": part.dataset.unofficial, "started": started,
            **environment.circumstances(device, libraries)}


def about_cell(cell: Cell, part: Split, started: str, device: torch.device) -> dict[str, Any]:
    """Those, and the fields that say which run it was."""
    settings = cell.settings
    return {"model": cell.model_name, "dataset": cell.dataset, "protocol": cell.protocol, "seed": cell.seed,
            "seeded": cell.model_class.seeded, "recipe": settings.recipe, "config": settings.config,
            "config_sources": settings.all_sources,
            **about_data(part, started, device, cell.model_class.libraries)}


def write_run(folder: Path, record: RunRecord, events: Events | None = None, ranks: np.ndarray | None = None,
              curve: Sequence[dict[str, Any]] = (), model: Recommender | None = None,
              other_ranks: Mapping[str, np.ndarray] | None = None) -> RunRecord:
    """Write record.json and, where given, ranks.parquet, curve.json and model/ as one new folder.

    Returns the record as written: with the checksums of the evidence, and the looks at the test events counted.

    ranks.parquet has one row per test event: `user` (dense index), `target` (position of the target among the
    dataset's interactions) and `rank` float64 (a half where scores tie, infinity for a miss); ranks [E, H] of a
    horizon add `rank 2` .. `rank H`, `other_ranks` columns of their own names.
    Raises CpbenchError when the disk is full or cannot be written.
    """
    try:
        with atomic_folder(folder) as temporary:
            if ranks is not None and events is not None:
                table = pl.DataFrame({"user": events.users.astype(np.int32), "target": events.target,
                                      **_columns(ranks), **(other_ranks or {})})
                table.write_parquet(temporary / RANKS)
                (temporary / "curve.json").write_bytes(to_json(list(curve), indent=1, inf_nan_mode="null") + b"\n")
            if model is not None:
                model.save(temporary / "model")
            checksums = {path.name: checksum(path) for path in sorted(temporary.iterdir()) if path.is_file()}
            complete = record.model_copy(update={"checksums": checksums, "test_looks": _earlier_looks(folder) + 1})
            (temporary / FILE_NAME).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return complete
    except (SafetensorError, PolarsError) as error:  # both libraries wrap the disk's error in their own
        raise CpbenchError(f"cannot write {folder}: {error}; nothing was left behind") from error


def _earlier_looks(folder: Path) -> int:
    """By the record that is about to be replaced; one that cannot be read was at least one look."""
    if not (folder / FILE_NAME).exists():
        return 0
    try:
        return load_record(folder).test_looks
    except CpbenchError:
        return 1


def _columns(ranks: np.ndarray) -> dict[str, np.ndarray]:
    steps = ranks if ranks.ndim == 2 else ranks[:, None]
    return {"rank" if step == 0 else f"rank {step + 1}": steps[:, step] for step in range(steps.shape[1])}
