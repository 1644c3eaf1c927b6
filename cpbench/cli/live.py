"""Live progress of runs on standard error: a bar where a terminal watches, else a plain line now and then."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from cpbench.cli.console import Output
from cpbench.experiments.watcher import Outcome
from cpbench.report.record import RunRecord
from cpbench.training.loop import SELECTION_METRIC, EpochReport

SECONDS_BETWEEN_LINES = 10.0


class LiveWatcher:
    """Tells of `total` trainings through `output`, with `progress` (a rich Progress) where a terminal watches."""

    def __init__(self, output: Output, progress: Any, total: int) -> None:
        self.output = output
        self.progress = progress
        self.total = total
        self.begun = 0
        self.bar = progress.add_task("", total=None, state="")
        self.validated = ""
        self.best = ""
        self.seconds: list[float] = []
        self.last_line = 0.0

    def say(self, text: str) -> None:
        self.output.note(f"  {text}")

    def warn(self, text: str) -> None:
        self.output.warn(text)

    def begin(self, label: str) -> None:
        self.begun += 1
        self.validated, self.best, self.seconds, self.last_line = "", "", [], 0.0
        self.output.note(f"[{self.begun}/{self.total}] {label}")
        self.progress.reset(self.bar, total=None, state="starting")

    def epoch(self, report: EpochReport) -> None:
        self.seconds.append(report.seconds)
        if report.valid is not None:
            value, epoch, best = f"{report.valid[SELECTION_METRIC]:.4f}", report.epoch, report.best_epoch
            if best == epoch:
                self.best = f"{value} "  # unknown where a resumed run had its best before it was stopped
            self.validated = f"valid {SELECTION_METRIC} {value} in {epoch} (best {self.best}in {best})"
        state = self._state(report)
        self.progress.update(self.bar, total=report.epochs, completed=report.epoch, state=escape(state))
        quiet_for = time.monotonic() - self.last_line
        if not self.output.err.is_terminal and (len(self.seconds) == 1 or quiet_for >= SECONDS_BETWEEN_LINES):
            self.last_line = time.monotonic()
            self.say(state)

    def _state(self, report: EpochReport) -> str:
        left = (report.epochs - report.epoch) * sum(self.seconds) / len(self.seconds)  # early stopping may cut it short
        parts = [f"epoch {report.epoch}/{report.epochs}", f"at most {clock(left)} left", f"loss {report.loss:.4f}"]
        return ", ".join([*parts, self.validated] if self.validated else parts)

    def end(self, outcome: Outcome) -> None:
        self.progress.reset(self.bar, total=None, state="")
        if outcome.error is not None:
            text = f"{outcome.cell.label}: {outcome.error}"
            self.output.err.print(f"[bold red]failed:[/] {escape(text)}", highlight=False, soft_wrap=True)
        elif outcome.record is not None and outcome.status == "skipped":
            self.say("already done, skipped (--force repeats it)")
        elif outcome.record is not None:
            record, cost = outcome.record, outcome.record.cost
            epochs = f", {cost.epochs} epochs (best {cost.best_epoch})" if cost.epochs else ""
            self.say(f"test HR@10 {figure(record, 'HR@10')}, NDCG@10 {figure(record, 'NDCG@10')}{epochs}, "
                     f"fitted in {clock(cost.fit_seconds)}")


@contextmanager
def watching(output: Output, total: int) -> Iterator[LiveWatcher]:
    """Tell of `total` trainings through `output` while the block lasts."""
    with output.progress(TimeElapsedColumn(), BarColumn(bar_width=8), TextColumn("{task.fields[state]}")) as progress:
        yield LiveWatcher(output, progress, total)


def exit_with_failures(outcomes: Sequence[Outcome]) -> None:
    """End the command where a run failed: with 2 (bad usage) only when nothing else went wrong, else with 1."""
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failures:
        raise typer.Exit(min(error.exit_code for error in failures))


def figure(record: RunRecord, metric: str) -> str:
    """A test metric as it is printed."""
    value = record.metrics.test.get(metric)
    return "-" if value is None else f"{value:.4f}"


def clock(seconds: float) -> str:
    """``0:07``, ``12:30`` or ``1:02:03``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
