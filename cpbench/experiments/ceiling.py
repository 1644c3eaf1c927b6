"""The best attainable result on a simulated dataset, recorded once a protocol, so that every table has a ceiling."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from cpbench.data import catalogue
from cpbench.data.card import cards
from cpbench.data.protocol import Split
from cpbench.errors import CpbenchError
from cpbench.experiments import environment
from cpbench.experiments.lock import only_one
from cpbench.experiments.record import about_data, write_run
from cpbench.report.place import run_folder
from cpbench.report.record import ORACLE, Cost, Metrics, RunRecord, load_record


def record_ceiling(part: Split, results: Path, say: Callable[[str], None]) -> None:
    """Write the oracle's record for this dataset and protocol, unless it is there or the data are not simulated.

    The oracle answers neither to a condition nor for several steps ahead: such protocols have no ceiling.
    """
    dataset = part.dataset
    card = cards().get(dataset.name)
    if card is None or card.kind != "simulated" or part.protocol.condition or part.protocol.horizon > 1:
        return
    folder = run_folder(results, dataset.name, part.protocol, ORACLE, "ceiling")
    with only_one(folder, say):
        if not _is_recorded(folder, dataset.fingerprint):
            write_run(folder, _ceiling(part))


def _is_recorded(folder: Path, fingerprint: str) -> bool:
    try:
        return load_record(folder).dataset_fingerprint == fingerprint
    except CpbenchError:  # not there, or not readable: it is made anew
        return False


def _ceiling(part: Split) -> RunRecord:
    from cpbench.data.streaming.oracle import ceiling

    started, begun = environment.utc_now(), time.perf_counter()
    metrics = ceiling(catalogue.prepared_folder(part.dataset.name), part)
    cost = Cost(fit_seconds=0.0, evaluate_seconds=time.perf_counter() - begun, epochs=0, best_epoch=0,
                peak_rss_bytes=environment.peak_memory(), parameters=0)
    return RunRecord(
        model=ORACLE,
        dataset=part.dataset.name,
        protocol=part.protocol,
        seed=0,
        recipe="ceiling",
        config={},
        config_sources={},
        information=["the simulator's truth"],
        metrics=Metrics(test=metrics),
        notes=part.notes(part.test),
        cost=cost,
        **about_data(part, started, torch.device("cpu")),
    )
