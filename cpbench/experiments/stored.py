"""A recorded run, read back: its record, its model and the data it was made on."""

from dataclasses import dataclass
from pathlib import Path

from cpbench.data import catalogue
from cpbench.data.protocol import Split, split
from cpbench.errors import UsageError
from cpbench.models.base import InstructedRecommender, Recommender
from cpbench.models.registry import model_class
from cpbench.report.collect import collect
from cpbench.report.record import FILE_NAME, RunRecord, load_record


@dataclass(frozen=True)
class StoredRun:
    folder: Path
    record: RunRecord
    model: Recommender
    split: Split


def find_run(reference: str, results: Path) -> Path:
    """The folder of a run: its path, its path below `results`, or part of it (``streaming``, ``climber-pilot``,
    ``streaming/leave-one-out/climber-pilot``), which names the newest run whose path holds all of those words.

    Raises UsageError when there is none.
    """
    for folder in (Path(reference), results / reference):
        if (folder / FILE_NAME).is_file():
            return folder
    collect(results)  # says so when there is no run at all
    words = [word for word in reference.split("/") if word]
    found = [path.parent for path in results.glob(f"*/*/*/*/{FILE_NAME}")
             if all(any(word == part or part.startswith(f"{word},") for part in path.relative_to(results).parts)
                    for word in words) and (path.parent / "model").is_dir()]
    if not found:
        raise UsageError(f"no run {reference!r} with a stored model in {results}; "
                         f"`cpbench run` makes one, `cpbench report --results {results}` lists them")
    return max(found, key=lambda folder: load_record(folder).finished)


def load_run(reference: str, results: Path) -> StoredRun:
    """Raises UsageError when the run or its model cannot be read, or the data have changed since."""
    folder = find_run(reference, results)
    record = load_record(folder)
    found: type[Recommender] = model_class(record.model)
    if record.obeys == "model":
        stage: type[InstructedRecommender] | None = found.instructed()
        assert stage is not None
        found = stage
    model = found.load(folder / "model")
    part = split(catalogue.load(record.dataset), record.protocol)
    if part.dataset.fingerprint != record.dataset_fingerprint:
        raise UsageError(f"{folder} was trained on other data ({record.dataset_fingerprint}) than {record.dataset} "
                         f"holds now ({part.dataset.fingerprint}); run it again with --force")
    return StoredRun(folder, record, model, part)
