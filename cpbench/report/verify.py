"""Holds a record against what lies beside it: its metrics against the ranks, its epochs and validation against the
learning curve, its names against its folder. What is printed must follow from what was measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cpbench.data.fetch import checksum
from cpbench.errors import CpbenchError, UsageError
from cpbench.evaluation.metrics import ACTIVITY, POPULARITY, accuracy, horizon
from cpbench.report.evidence import RANKS, read_ranks, step_columns
from cpbench.report.place import run_folder
from cpbench.report.record import EXTERNAL, ORACLE, RunRecord, impossible, load_record

TOLERANCE = 1e-9
CURVE = "curve.json"


@dataclass
class Verdict:
    """`recomputed` metrics follow from the ranks; `problems` do not, or cannot be looked at; `remarks` should be known.
    """

    folder: Path
    recomputed: int = 0
    sealed: bool = False
    """The record holds checksums of its evidence."""
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "recomputed": self.recomputed, "sealed": self.sealed,
                "problems": self.problems, "remarks": self.remarks}


def verify(folder: Path) -> Verdict:
    """What can be said of the run in `folder`; a record or ranks that cannot be read are problems, not exceptions."""
    verdict = Verdict(folder)
    try:
        record = load_record(folder)
    except CpbenchError as error:
        verdict.problems.append(str(error))
        return verdict
    verdict.problems += impossible(record)
    _check_place(verdict, record)
    if record.model == ORACLE:
        verdict.remarks.append("a ceiling, computed from the simulator's truth: it has no ranks")
        return verdict
    if record.dirty:
        verdict.remarks.append(f"made from changed sources of commit {record.commit}")
    elif record.commit is None:
        verdict.remarks.append("made from an installed package: its commit is not known")
    _check_files(verdict, record)
    _check_curve(verdict, record)
    try:
        table = read_ranks(folder)
    except CpbenchError as error:
        verdict.problems.append(f"{error}: nothing supports the metrics")
        return verdict
    _compare(verdict, record, table)
    if not verdict.recomputed:
        verdict.problems.append("no metric of the record could be recomputed")
    return verdict


def contradictions(claimed: Mapping[str, float | None], found: Mapping[str, float]) -> list[str]:
    """The metrics of a record that are not those `found` in its ranks, in sentences."""
    return [f"{name} is {value} in the record, {found[name]:.6f} by the ranks" for name, value in claimed.items()
            if name in found and not _close(value, found[name])]


def _thirds(claimed: Mapping[str, float | None], found: Mapping[str, float], events: int) -> list[str]:
    """Parts of a metric that cannot all be right: who is in which needs the data, but together they are everybody."""
    sizes = [len(part) for part in np.array_split(np.arange(events), 3)]
    wrong = []
    for name in ("HR@10", "NDCG@10"):
        for levels in (ACTIVITY, POPULARITY):
            parts = [claimed.get(f"{name}/{level}") for level in levels]
            known = [value for value in parts if value is not None]
            if name in found and len(known) == 3 and not _close(float(np.average(known, weights=sizes)), found[name]):
                values = ", ".join(f"{value:.4f}" for value in known)
                wrong.append(f"{name} of {', '.join(levels)} ({values}) cannot be {found[name]:.4f} together")
    return wrong


def _check_files(verdict: Verdict, record: RunRecord) -> None:
    """The files of evidence are those that were written with the record."""
    verdict.sealed = bool(record.checksums)
    for name, expected in record.checksums.items():
        try:
            found = checksum(verdict.folder / name)
        except UsageError as error:
            verdict.problems.append(str(error))
            continue
        if found != expected:
            verdict.problems.append(f"{name} is not the file written with the record: {found}, not {expected}")


def _check_place(verdict: Verdict, record: RunRecord) -> None:
    """The names in the record are those of its folder; a folder that was copied elsewhere tells nothing."""
    run = record.recipe if record.recipe == EXTERNAL or record.model == ORACLE else f"{record.recipe}-seed{record.seed}"
    expected = run_folder(Path(), record.dataset, record.protocol, record.model, run).parts
    found = verdict.folder.resolve().parts[-len(expected):]
    if found[-1].startswith(f"{run}-"):  # settings made by hand add a checksum of them
        expected = (*expected[:-1], found[-1])
    if sum(own == other for own, other in zip(expected, found, strict=False)) >= 2:
        verdict.problems += [f"the record is of {kind} {own}, its folder of {other}" for kind, own, other
                             in zip(("dataset", "protocol", "model", "run"), expected, found, strict=True)
                             if own != other]
    else:
        verdict.remarks.append("not in the folder where cpbench put it: dataset, protocol, model and seed are the "
                               "record's word")


def _check_curve(verdict: Verdict, record: RunRecord) -> None:
    """Epochs and validation metrics are those of the learning curve, where there is one."""
    cost = record.cost
    if cost.best_epoch > cost.epochs:
        verdict.problems.append(f"the record says that epoch {cost.best_epoch} of {cost.epochs} was the best")
    path = verdict.folder / CURVE
    if not path.exists():
        return
    try:
        curve = [dict(point) for point in json.loads(path.read_text(encoding="utf-8"))]
        last = curve[-1] if curve else {"epoch": 0, "best_epoch": 0}
        for name, own, other in (("epochs", cost.epochs, last.get("epoch")),
                                 ("best epoch", cost.best_epoch, last.get("best_epoch"))):
            if other is not None and own != other:
                verdict.problems.append(f"{name}: {own} in the record, {other} in {CURVE}")
        best = next((point for point in curve if point["epoch"] == last.get("best_epoch")), {})
        seen = dict(best.get("valid") or {})
    except (OSError, ValueError, TypeError, KeyError) as error:
        verdict.problems.append(f"{CURVE} cannot be read as a learning curve ({type(error).__name__}: {error})")
        return
    # a model that trains itself (RecBole) notes what its own library measures, without parts of the loss; under some
    # conditions lists are filtered after training
    if "parts" in best and record.obeys in ("", "model"):
        valid = record.metrics.valid
        verdict.problems += [f"validation {name} is {valid.get(name)} in the record, {seen.get(name)} in {CURVE}"
                             for name in dict.fromkeys([*seen, *valid])
                             if not _close(valid.get(name), seen.get(name))]


def _close(one: float | None, other: float | None) -> bool:
    """NaN is close to nothing."""
    return one is other or (one is not None and other is not None and abs(one - other) <= TOLERANCE)


def _compare(verdict: Verdict, record: RunRecord, table: pl.DataFrame) -> None:
    events, beam = record.notes.get("events"), record.notes.get("beam")
    if events is not None and events != table.height:
        verdict.problems.append(f"the record counts {events:.0f} test events, {RANKS} holds {table.height}")
    if table.select("user", "target").is_duplicated().any():
        verdict.problems.append(f"an event occurs twice in {RANKS}")
    claims = [("", record.metrics.test, step_columns(table))]
    claims += [(f"{stage.name}, {how}: ", metrics, [f"rank, {stage.name}: {how}"])
               for stage in record.stages for how, metrics in stage.metrics.items()]
    for label, claimed, columns in claims:
        if missing := [name for name in columns if name not in table.columns] or ([] if columns else ["rank"]):
            verdict.problems.append(f"{RANKS} lacks the column {missing[0]!r}")
            continue
        ranks = table.select(columns).to_numpy()
        if np.isnan(ranks).any() or (ranks < 1).any():
            verdict.problems.append(f"{label}{RANKS} holds a rank below 1 or none at all")
            continue
        found = accuracy(ranks[:, 0], None if beam is None else int(beam))
        if len(columns) > 1:
            found |= horizon(ranks)
        wrong = contradictions(claimed, found)
        verdict.problems += [f"{label}{each}" for each in (*wrong, *_thirds(claimed, found, len(ranks)))]
        verdict.recomputed += len(found.keys() & claimed.keys()) - len(wrong)
        if unsupported := sorted(name for name in claimed if name.startswith(("HR@", "NDCG@", "MRR"))
                                 and name not in found and ("/" not in name or "/step " in name)):
            verdict.problems.append(f"{label}no rank supports {unsupported[0]}")
