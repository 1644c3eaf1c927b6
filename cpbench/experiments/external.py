"""Evaluates another system's recommendations and records them as an external row beside our models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from cpbench.data import catalogue
from cpbench.data.fetch import checksum
from cpbench.data.protocol import Protocol, Split, split
from cpbench.data.recommendation_files import Recommendations, read_recommendations
from cpbench.data.user_files import NAME
from cpbench.errors import UsageError, unknown
from cpbench.evaluation.lists import evaluate_lists
from cpbench.experiments import environment
from cpbench.experiments.lock import only_one
from cpbench.experiments.original_ids import no_such
from cpbench.experiments.record import about_data, write_run
from cpbench.files import clear_leftovers
from cpbench.models.conformance import INFORMATION
from cpbench.models.registry import family_names, model_names
from cpbench.report.place import folder_name, run_folder
from cpbench.report.record import EXTERNAL, FILE_NAME, ORACLE, Cost, Metrics, RunRecord, load_record

UNKNOWN = "unknown"
"""What an external system uses beside item ids, unless its author says so."""
IDS = "ids"
"""How its author says that it uses nothing beside item ids."""
SOURCE = "the file"


@dataclass(frozen=True)
class External:
    """`record` as it lies in `folder`; `done` or `skipped`, where the same file was recorded before."""

    folder: Path
    record: RunRecord
    status: str
    warnings: list[str] = field(default_factory=list)


def evaluate_file(path: Path, dataset: str, protocol: Protocol, results: Path, name: str | None = None,
                  columns: Mapping[str, str] | None = None, information: Sequence[str] = (UNKNOWN,),
                  force: bool = False, say: Callable[[str], None] = lambda text: None) -> External:
    """Evaluate the lists in `path` (see `read_recommendations`) on the test events, and record them under `name`.

    Raises UsageError for a file, name or `information` that cannot be used, lists of other data than `dataset`, and
    where another file is recorded under that name already (unless `force`).
    """
    name = None if name is None else _checked(name)
    budget = _budget(information)
    if protocol.condition is not None:
        raise UsageError("lists from a file cannot answer a condition: its values are drawn event by event here")
    found = read_recommendations(path, columns)
    name = name or _checked(path.stem)
    part = split(catalogue.load(dataset), protocol)
    config = {"file": path.name, "checksum": checksum(path), "ordered_by": found.ordered_by,
              "columns": ",".join(f"{role}={column}" for role, column in found.columns.items())}
    started = environment.utc_now()
    rows, warnings = _located(found, part)
    folder = run_folder(results, dataset, protocol, name, EXTERNAL)
    with only_one(folder, say):
        clear_leftovers(folder)
        if not force and (folder / FILE_NAME).exists():
            record = _same(folder, config, budget, part)
            return External(folder, record, "skipped", [*warnings, *_remarks(record.notes)])
        test = evaluate_lists(part, part.test, rows)
        record = RunRecord(
            model=name,
            dataset=dataset,
            protocol=protocol,
            seed=0,
            recipe=EXTERNAL,
            config=config,
            config_sources=dict.fromkeys(config, SOURCE),
            information=budget,
            metrics=Metrics(test=test.metrics),
            notes=test.notes,
            # what the system itself took is not known
            cost=Cost(fit_seconds=0.0, evaluate_seconds=test.seconds, epochs=0, best_epoch=0, peak_rss_bytes=0,
                      parameters=0),
            **about_data(part, started, torch.device("cpu")),
        )
        written = write_run(folder, record, part.test, test.all_ranks)
    return External(folder, written, "done", [*warnings, *_remarks(test.notes)])


def _checked(name: str) -> str:
    """`name`, if it can name a folder and passes for none of our models."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a system: use letters, digits, '-', '_' and '.' (at most 64, beginning "
                         "with a letter or a digit), as in --name my-system")
    low = name.lower()
    if low in {own.lower() for own in (*model_names(), ORACLE)} or any(
            low.startswith(folder_name(f"{family}:").lower()) for family in family_names()):
        raise UsageError(f"{name!r} is the name of a model of cpbench, and an external row must not pass for it: "
                         "give another --name")
    return name


def _budget(information: Sequence[str]) -> list[str]:
    known = INFORMATION - {"condition"}
    for each in information:
        if each not in known | {UNKNOWN, IDS}:
            raise unknown("information", each, known | {UNKNOWN, IDS})
    if not information or (len(set(information)) > 1 and {UNKNOWN, IDS} & set(information)):
        raise UsageError(f"--information {','.join(information)!r}: give what the system uses beside item ids, or "
                         f"{IDS} (nothing), or {UNKNOWN}, by itself")
    return [] if information[0] == IDS else list(dict.fromkeys(information))


def _same(folder: Path, config: dict[str, Any], budget: list[str], part: Split) -> RunRecord:
    """The record in `folder`, if it is of these very lists; raises UsageError if not."""
    record = load_record(folder)
    if record.dataset_fingerprint != part.dataset.fingerprint:
        what = f"other data ({record.dataset_fingerprint}, now {part.dataset.fingerprint})"
    elif record.config.get("checksum") != config["checksum"]:
        what = f"another file ({record.config.get('file')}, {record.finished[:10]})"
    elif record.config != config or record.information != budget:
        what = "the same file, described differently"
    else:
        return record
    raise UsageError(f"{folder} is already recorded, from {what}: give another --name, or --force to replace it")


def _located(found: Recommendations, part: Split) -> tuple[pl.DataFrame, list[str]]:
    """The rows of `found` by test event and dense item, in file order, and warnings about ids that are not known.

    Raises UsageError when no user or no item of the file is one of the dataset's.
    """
    dataset, path = part.dataset, found.path
    warnings = []
    ids = {"user": dataset.user_ids.cast(pl.String), "item": dataset.item_table["id"].cast(pl.String)}
    effects = {"user": "their lists are ignored", "item": "they take places in the lists but can never be a target"}
    for kind, known in ids.items():
        present = found.rows[kind].unique(maintain_order=True)
        strange = present.filter(~present.is_in(known.implode()))
        if len(strange) == len(present):
            raise UsageError(f"no {kind} of {path} is in {dataset.name}: {no_such(kind, strange[0], known)}")
        if len(strange):
            warnings.append(f"{path}: {len(strange):,} of {len(present):,} {kind}s are not in {dataset.name}, "
                            f"such as {strange[0]!r}: {effects[kind]}")
    users = pl.DataFrame({"user": ids["user"].gather(part.test.users), "event": np.arange(len(part.test))})
    items = pl.DataFrame({"item": ids["item"], "dense": np.arange(dataset.n_items)})
    rows = (found.rows.with_row_index("row").join(users, on="user").join(items, on="item", how="left").sort("row")
            .select("event", pl.col("dense").alias("item"), "score"))
    if rows.is_empty():
        raise UsageError(f"no user of {path} has a test event under this protocol")
    return rows, warnings


def _remarks(notes: Mapping[str, float]) -> list[str]:
    """What a reader of the metrics should know, in sentences."""
    events, beam = int(notes["events"]), int(notes.get("beam", 0))
    sentences = {
        "lists_missing": f"of {events:,} test events have no list: they are misses",
        "lists_short": f"of {events:,} lists are shorter than {beam}, the median: beyond their ends they miss, so "
                       "metrics at large K are lower bounds",
        "lists_ending_in_a_tie": f"of {events:,} lists end in equal scores: what was cut off may be equal, too, so "
                                 "metrics at large K are not exact",
        "seen_items_removed": "places held items that the user had seen: they were removed, as the protocol excludes "
                              "seen items",
    }
    return [f"{int(notes[name]):,} {sentence}" for name, sentence in sentences.items() if notes[name]]
