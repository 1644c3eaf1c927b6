"""What became of a run, and who is told of it while it lasts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cpbench.errors import CpbenchError
from cpbench.experiments.plan import Cell
from cpbench.report.record import RunRecord
from cpbench.training.loop import EpochReport


@dataclass(frozen=True)
class Outcome:
    """What became of a cell; `record` unless it failed, `error` if it did."""

    cell: Cell
    status: Literal["done", "skipped", "failed"]
    folder: Path
    record: RunRecord | None = None
    error: CpbenchError | None = None


class Watcher(Protocol):
    """Who is told how far the runs have come."""

    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def begin(self, label: str) -> None: ...
    def epoch(self, report: EpochReport) -> None: ...
    def end(self, outcome: Outcome) -> None: ...
