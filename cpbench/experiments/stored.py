"""A recorded run, read back: its record, its model and the data it was made on."""

from dataclasses import dataclass
from pathlib import Path

from cpbench.data import catalogue
from cpbench.data.protocol import Split, split
from cpbench.errors import CpbenchError, UsageError, closest
from cpbench.models.base import InstructedRecommender, Recommender
from cpbench.models.registry import model_class
from cpbench.report.collect import collect
from cpbench.report.place import folder_name
from cpbench.report.record import FILE_NAME, RunRecord, load_record, run_folders


@dataclass(frozen=True)
class StoredRun:
    folder: Path
    record: RunRecord
    model: Recommender
    split: Split


def find_run(reference: str, results: Path) -> Path:
    """The folder of a run: its path, its path below `results`, or part of it (``streaming``, ``climber-pilot``,
    ``condition=genre``, ``streaming/leave-one-out/climber-pilot``), which names the newest run whose path holds all of
    those words. Damaged records are passed over where another run fits.

    Raises UsageError when there is none.
    """
    for folder in (Path(reference), results / reference):
        if (folder / FILE_NAME).is_file():
            if not (folder / "model").is_dir():
                raise UsageError(f"{folder} holds a record but no stored model")
            return folder
    collect(results)  # says so when there is no run at all
    words = [folder_name(word) for word in reference.split("/") if word]
    finished: dict[Path, tuple[str, int]] = {}
    damaged: list[CpbenchError] = []
    for folder in run_folders(results):
        parts = folder.relative_to(results).parts
        if not words or not (folder / "model").is_dir() or not all(
                any(word in (part, *part.split(",")) or part.startswith(f"{word},") for part in parts)
                for word in words):
            continue
        try:
            # records count whole seconds; a short run and its pre-training may end within one
            finished[folder] = (load_record(folder).finished, (folder / FILE_NAME).stat().st_mtime_ns)
        except CpbenchError as error:  # another run may fit as well
            damaged.append(error)
    if not finished:
        if damaged:
            raise damaged[0]
        raise UsageError(f"no run {reference!r} with a stored model in {results}{_nearest(words, results)}; "
                         f"`cpbench run` makes one, `cpbench report --results {results}` lists them")
    return max(finished, key=finished.__getitem__)


def _nearest(words: list[str], results: Path) -> str:
    """``, did you mean 'ml-100k/ease'?``, where a word is not one of any run's with a model."""
    paths = [path.relative_to(results).parts for path in results.glob("*/*/*/*/model")]
    known = {word for parts in paths for part in parts[:-1] for word in (part, *part.split(","))}
    guess = [word if word in known else next(iter(closest(word, known, 1)), "") for word in words]
    return f", did you mean {'/'.join(guess)!r}?" if guess and all(guess) and guess != words else ""


def load_run(reference: str, results: Path) -> StoredRun:
    """Raises UsageError when the run or its model cannot be read, or the data have changed since."""
    folder = find_run(reference, results)
    record = load_record(folder)
    found: type[Recommender] = model_class(record.model)
    if record.obeys == "model":
        stage: type[InstructedRecommender] | None = found.instructed()
        if stage is None:
            raise UsageError(f"{folder} was fine-tuned for a condition, which {record.model} cannot be any more")
        found = stage
    try:
        model = found.load(folder / "model")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # files that are whole, but do not fit together
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"the model in {folder} does not load ({reason[0].rstrip(':')}): it is damaged or from "
                         "another version; run it again with --force") from error
    part = split(catalogue.load(record.dataset), record.protocol)
    if part.dataset.fingerprint != record.dataset_fingerprint:
        raise UsageError(f"{folder} was trained on other data ({record.dataset_fingerprint}) than {record.dataset} "
                         f"holds now ({part.dataset.fingerprint}); run it again with --force")
    return StoredRun(folder, record, model, part)
