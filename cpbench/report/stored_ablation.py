"""Ablations as `cpbench ablate` left them on disk: table and figure."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

FOLDER = "ablations"
ABLATED = "climber-pilot"
"""What is ablated."""
NUMBERS = "table.json"


class Stored(BaseModel):
    model_config = ConfigDict(frozen=True)


class StoredEstimate(Stored):
    mean: float
    spread: float | None = None


class StoredDifference(Stored):
    mean: float
    interval: tuple[float, float] | None = None
    p_value: float | None = None


class StoredRow(Stored):
    variant: str
    serving_lag: int
    seeds: list[int]
    metrics: dict[str, StoredEstimate]
    differences: dict[str, StoredDifference] = {}


class StoredAblation(Stored):
    """What ``table.json`` holds (`cpbench.report.ablation_page`), and where it lies."""

    ablation: str
    dataset: str
    dataset_fingerprint: str
    claim: str
    reference: str
    rows: list[StoredRow]
    paper: dict[str, dict[str, float]] = {}
    paper_source: str = ""
    test: str = "mean [95 % interval over users], p over seeds, uncorrected (an older version): repeat `cpbench ablate`"
    """What the differences rest on."""
    folder: Path

    @property
    def figure(self) -> Path | None:
        """The SVG, where there is one."""
        path = self.folder / f"{self.ablation}.svg"
        return path if path.is_file() else None

    @property
    def metrics(self) -> list[str]:
        """Names in the order of the file, the steps of a horizon in theirs."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.metrics))
        families = list(dict.fromkeys(name.partition("/step ")[0] for name in names))
        return sorted(names, key=lambda name: (families.index(name.partition("/step ")[0]), _step(name)))


def stored_ablations(results: Path, datasets: Sequence[str] = ()) -> tuple[list[StoredAblation], list[str]]:
    """The ablations under `results` (of `datasets` only, if any are named), and warnings about unreadable ones."""
    found, warnings = [], []
    for path in sorted((results / FOLDER).glob(f"*/*/{NUMBERS}")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            ablation = StoredAblation.model_validate({**document, "folder": path.parent})
        except (OSError, ValueError, TypeError) as error:
            reason = "not the table of an ablation" if isinstance(error, ValidationError | TypeError) else str(error)
            warnings.append(f"left out: {path} cannot be read ({reason}); repeat `cpbench ablate`")
            continue
        if not datasets or ablation.dataset in datasets:
            found.append(ablation)
    return found, warnings


def _step(name: str) -> int:
    """A difference of two steps comes behind the later one."""
    first, *more = re.findall(r"\bstep (\d+)", name) or ["0"]
    return 2 * int(first) + len(more)
