"""A recorded run, read back: its record, its model and the data it was made on."""

from dataclasses import dataclass
from pathlib import Path

from cpbench.data import catalogue
from cpbench.data.protocol import Split, split
from cpbench.errors import UsageError
from cpbench.models.base import InstructedRecommender, Recommender
from cpbench.models.registry import model_class
from cpbench.report.named import MODEL, find_run
from cpbench.report.record import RunRecord, load_record


@dataclass(frozen=True)
class StoredRun:
    folder: Path
    record: RunRecord
    model: Recommender
    split: Split


def load_run(reference: str, results: Path) -> StoredRun:
    """Raises UsageError when the run or its model cannot be read, or the data have changed since."""
    folder = find_run(reference, results, with_model=True)
    record = load_record(folder)
    found: type[Recommender] = model_class(record.model)
    if record.obeys == "model":
        stage: type[InstructedRecommender] | None = found.instructed()
        if stage is None:
            raise UsageError(f"{folder} was fine-tuned for a condition, which {record.model} cannot be any more")
        found = stage
    try:
        model = found.load(folder / MODEL)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # files that are whole, but do not fit together
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"the model in {folder} does not load ({reason[0].rstrip(':')}): it is damaged or from "
                         "another version; run it again with --force") from error
    part = split(catalogue.load(record.dataset), record.protocol)
    if part.dataset.fingerprint != record.dataset_fingerprint:
        raise UsageError(f"{folder} was trained on other data ({record.dataset_fingerprint}) than {record.dataset} "
                         f"holds now ({part.dataset.fingerprint}); run it again with --force")
    return StoredRun(folder, record, model, part)
