"""Finds RunRecords on disk. Those that are unreadable or impossible are named and left out; nothing else is read."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cpbench.data import catalogue
from cpbench.errors import CpbenchError, UsageError, unknown
from cpbench.files import RESULTS
from cpbench.report.evidence import Run
from cpbench.report.record import FILE_NAME, ORACLE, impossible, load_record, run_folders


def collect(results: Path, datasets: Sequence[str] = ()) -> tuple[list[Run], list[str]]:
    """The runs recorded under `results` (of `datasets` only, if any are named) and warnings about those left out.

    Raises UsageError when there is none, and for a dataset without records.
    """
    runs, warnings = [], []
    for folder in run_folders(results):
        try:
            record = load_record(folder)
        except CpbenchError as error:
            warnings.append(f"left out: {error}")
            continue
        if wrong := impossible(record):
            warnings.append(f"left out: {folder}: {wrong[0]}; see `cpbench verify {folder}`")
        else:
            runs.append(Run(record, folder))
    if not runs:
        raise no_record(results, f" ({len(warnings)} {warnings[0]})" if warnings else "")
    present = {run.record.dataset for run in runs}
    for dataset in datasets:
        if dataset not in present and dataset in catalogue.known_names():
            raise UsageError(f"no run on {dataset} is recorded in {results}, only on {', '.join(sorted(present))}; "
                             f"make one with `cpbench run --dataset {dataset} --model ...`")
        if dataset not in present:
            raise unknown("dataset", dataset, present | set(catalogue.known_names()))
    return [run for run in runs if not datasets or run.record.dataset in datasets], warnings


def no_record(results: Path, reason: str = "") -> UsageError:
    """The error for a folder of results without a record; `reason`: what is known of why."""
    if results.exists() and not results.is_dir():
        return UsageError(f"{results} is no folder: give that of the run records")
    missing = "" if results.exists() else ", which does not exist"
    where = "" if results == RESULTS else f" --results {shlex.quote(str(results))}"
    near = None if reason else _near(results)
    other = f", or give --results {shlex.quote(str(near))}, where there are some" if near else ""
    return UsageError(f"no run record in {results}{missing}{reason}; make one with "
                      f"`cpbench run --model popularity,sasrec,climber-pilot{where}`{other}")


def _near(results: Path) -> Path | None:
    """A folder of results of which `results` is a part, or which lies in it."""
    for depth in (0, 1, 2, 3, 5):
        for path in results.absolute().glob("*/" * depth + FILE_NAME):
            if len(path.parents) > 4 and path.parent in run_folders(near := path.parents[4]):
                return near.relative_to(Path.cwd()) if near.is_relative_to(Path.cwd()) else near
    return None


def only(runs: Sequence[Run], models: Sequence[str], recipes_only: bool = False) -> list[Run]:
    """The runs of `models` (all, if none are named; a ceiling stays), without those with settings made by hand.

    Raises UsageError for a model without runs, and when nothing is left.
    """
    present = {run.record.model for run in runs}
    for model in models:
        if model not in present:
            raise unknown("model among these runs", model, present)
    kept = [run for run in runs if (not models or run.record.model in (*models, ORACLE))
            and not (recipes_only and run.record.overrides)]
    if not kept:
        raise UsageError("no run is left: all of them have settings made with --set; leave out --recipes-only")
    return kept
