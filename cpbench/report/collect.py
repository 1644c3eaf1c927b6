"""Finds RunRecords on disk. Unreadable ones are named and left out; nothing else is ever read."""

from collections.abc import Sequence
from pathlib import Path

from cpbench.data import catalogue
from cpbench.errors import CpbenchError, UsageError, unknown
from cpbench.report.record import FILE_NAME, RunRecord, load_record


def collect(results: Path, datasets: Sequence[str] = ()) -> tuple[list[RunRecord], list[str]]:
    """The records under `results` (of `datasets` only, if any are named) and warnings about those left out.

    Raises UsageError when there is none, and for a dataset without records.
    """
    records, warnings = [], []
    for path in sorted(results.glob(f"*/*/*/*/{FILE_NAME}")):
        if any(part.startswith(".") for part in path.relative_to(results).parts):
            continue  # half-made by a process that was killed
        try:
            records.append(load_record(path.parent))
        except CpbenchError as error:
            warnings.append(f"left out: {error}")
    if not records:
        unreadable = f" ({len(warnings)} unreadable: {warnings[0]})" if warnings else ""
        raise UsageError(f"no run record in {results}{unreadable}; make one with "
                         "`cpbench run --model popularity,sasrec,climber-pilot`")
    present = {record.dataset for record in records}
    for dataset in datasets:
        if dataset not in present and dataset in catalogue.known_names():
            raise UsageError(f"no run on {dataset} is recorded in {results}, only on {', '.join(sorted(present))}; "
                             f"make one with `cpbench run --dataset {dataset} --model ...`")
        if dataset not in present:
            raise unknown("dataset", dataset, present | set(catalogue.known_names()))
    return [record for record in records if not datasets or record.dataset in datasets], warnings
