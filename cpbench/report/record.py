"""RunRecord: everything needed to believe or repeat a run. A report reads these and nothing else.

On disk: ``results/DATASET/PROTOCOL/MODEL/RUN/record.json``, beside it the ranks of every test event, the training curve
and the model. All of a run's files appear at once or not at all.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from cpbench.data.protocol import Protocol
from cpbench.errors import UsageError
from cpbench.files import CONTROL

SCHEMA_VERSION = 1
FILE_NAME = "record.json"
ORACLE = "oracle"
"""The name under which the best attainable result of a simulated dataset is recorded; no model has it."""
EXTERNAL = "external"
"""The recipe, and the name of the run, of lists that another system made (`cpbench eval`)."""
UNBOUNDED = "novelty@"
"""What the only metrics begin with that may be above 1."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Metrics(Frozen):
    """Metrics by name (``HR@10``); the validation part holds the accuracy metrics only."""

    valid: dict[str, float | None] = {}
    test: dict[str, float | None]


class Cost(Frozen):
    """What the run took. Seconds are wall-clock; `fit_seconds` includes validation and every resumption."""

    fit_seconds: FiniteFloat
    evaluate_seconds: FiniteFloat
    """Ranking the test events and computing their metrics."""
    epochs: int
    """0 for models that no loop trains."""
    best_epoch: int
    peak_rss_bytes: int
    """Largest resident memory of the process during this cell."""
    parameters: int
    """How many numbers were learned."""


class Stage(Frozen):
    """One stage of a run with a condition, and how well each way of obeying does with what it learned."""

    name: str
    run: str = ""
    """The run whose model it starts from or is, below the results folder."""
    saw: str = ""
    """Which interactions it was trained on."""
    metrics: dict[str, dict[str, float | None]]
    """By way of obeying (see docs/protocol.md): none, model, post-filter, hard-filter, model+filter."""
    fit_seconds: float
    epochs: int


class Machine(Frozen):
    """The kind of machine; never its name or its user's."""

    cpu: str
    threads: int
    device: str
    system: str


class RunRecord(Frozen):
    """One model, trained once on one dataset under one protocol with one seed."""

    schema_version: int = Field(SCHEMA_VERSION, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    model: str
    dataset: str
    protocol: Protocol
    seed: int
    recipe: str
    config: dict[str, Any]
    """Every key of the model and of its training."""
    config_sources: dict[str, str]
    """Of every key: "default", the recipe and its source, or "--set"."""
    information: list[str]
    """What the model uses beside item ids."""
    metrics: Metrics
    selected_by: str = ""
    """What chose the epoch of `cost.best_epoch`; empty where no epoch was chosen, and in records before 2026-11-25."""
    precision: str = ""
    """What the training computed matrix products in (of the last stage); empty for models without gradients, and in
    older records, which kept to the config's `precision` (some are of 2026-11-30)."""
    stopped_by: str = ""
    """``max_minutes`` where the clock ended the training (of the last stage) before its epochs or its patience did."""
    test_looks: int = 1
    """How often the test events were looked at for this record's folder: once, and once more for every --force."""
    seeded: bool = False
    """Whether a fit without epochs used the seed."""
    obeys: str = ""
    """Under a condition: how the lists of `metrics` obey it."""
    stages: list[Stage] = []
    """Under a condition: pre-training and fine-tuning."""
    notes: dict[str, FiniteFloat]
    """Facts about the test events: how many, without history, with targets seen before or unseen in training."""
    cost: Cost
    checksums: dict[str, str] = {}
    """``sha256:HEX`` of the files of evidence beside the record, by name; empty in records before 2026-11-25."""
    dataset_fingerprint: str
    dataset_counts: dict[str, int]
    dataset_unofficial: list[str] = []
    """The files that the data were made from and that are not the official ones; empty in records before
    2026-11-30, 13:00, whatever they were made from."""
    versions: dict[str, str]
    machine: Machine
    commit: str | None
    """Of the cpbench source; None when it runs from an installed package."""
    dirty: bool | None
    """Whether that source had uncommitted changes."""
    command: str
    started: str = Field(description="UTC, ISO 8601")
    finished: str = Field(description="UTC, ISO 8601")

    @property
    def deterministic(self) -> bool:
        """Whether another seed would change nothing: of models that count; of another system, nobody knows."""
        trained = self.cost.epochs or any(stage.epochs for stage in self.stages)
        return not (trained or self.seeded or self.recipe == EXTERNAL)

    @property
    def is_costed(self) -> bool:
        """Whether `cost` is what the model took: of lists from another system, and of the ceiling, nobody knows."""
        return self.recipe != EXTERNAL and self.model != ORACLE

    @property
    def overrides(self) -> dict[str, Any]:
        """The keys that were set by hand."""
        return {key: self.config[key] for key, source in sorted(self.config_sources.items())
                if source == "--set" and key in self.config}


def learned_since(records: Sequence[RunRecord]) -> set[str]:
    """The keys of `config` that some of `records` lack and all others hold at one default: cpbench has learned them
    between these runs, and what nobody has set changes nothing."""
    learned = set()
    for key in {key for record in records for key in record.config}:
        aware = [record for record in records if key in record.config]
        if len(aware) == len(records):
            continue
        values = {json.dumps(record.config[key], sort_keys=True) for record in aware}
        if len(values) == 1 and all(record.config_sources.get(key) == "default" for record in aware):
            learned.add(key)
    return learned


def impossible(record: RunRecord) -> list[str]:
    """The metrics of `record`, of validation and stages, too, that no ranking can have, in sentences."""
    claims = [("", record.metrics.test), ("validation ", record.metrics.valid)]
    claims += [(f"{stage.name}, {how}: ", metrics) for stage in record.stages for how, metrics in stage.metrics.items()]
    return [f"{label}{name} is {value} in the record, which no ranking can have" for label, metrics in claims
            for name, value in metrics.items()
            if value is not None and (value < 0 or (value > 1 and not name.startswith(UNBOUNDED)))]


def run_folders(results: Path) -> list[Path]:
    """Every recorded run below `results`, readable or not, sorted; not what a killed process left half-made."""
    found = (path.parent for path in results.glob(f"*/*/*/*/{FILE_NAME}"))
    return sorted(folder for folder in found
                  if not any(part.startswith(".") for part in folder.relative_to(results).parts))


def load_record(folder: Path) -> RunRecord:
    """Read ``record.json`` in `folder`. Raises UsageError when it is missing, damaged or of another schema."""
    path = folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
        if ("\\" in text or not text.isascii()) and _steers(json.loads(text)):
            raise UsageError(f"{path} holds control characters, which no record has: it was not written by cpbench")
        return RunRecord.model_validate_json(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise UsageError(f"{path} {_invalid(error.errors(include_url=False))}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}); repeat the run with --force") from error


def _invalid(details: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a record of which pydantic says `details`, and what to do."""
    version = next((detail["input"] for detail in details if detail["loc"] == ("schema_version",)), None)
    if isinstance(version, int):
        age, remedy = (("a newer", "upgrade cpbench to read it") if version > SCHEMA_VERSION else
                       ("an older", "repeat the run with --force"))
        return f"was written by {age} cpbench (record schema {version}, this one reads {SCHEMA_VERSION}); {remedy}"
    if details[0]["type"] == "json_invalid":
        return f"is damaged ({details[0]['ctx']['error']}); repeat the run with --force"
    places = ", ".join(sorted({".".join(map(str, detail["loc"])) or "the document" for detail in details}))
    return f"is not a run record (wrong or missing: {places}); repeat the run with --force"


def _steers(value: Any) -> bool:
    """Whether a text anywhere in `value` holds a control character."""
    if isinstance(value, dict):
        return any(_steers(key) or _steers(each) for key, each in value.items())
    if isinstance(value, list):
        return any(map(_steers, value))
    return isinstance(value, str) and CONTROL.search(value) is not None
