"""What differs between two recorded runs: data, settings, circumstances, metrics, and user by user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpbench.evaluation.metrics import hit_rate, ndcg, reciprocal_rank
from cpbench.report.evidence import Run, aligned
from cpbench.report.statistics import Comparison, Sample, compare, per_user
from cpbench.report.verify import verify

K = 10
"""The cut-off of what is compared user by user."""
OF_LISTS = ("beam", "seen_items_removed", "unknown_items", "lists_missing", "lists_short", "lists_ending_in_a_tie")
"""Notes of a record on the lists that a model or another system made; all others are on the test events."""
Metric = Callable[[np.ndarray], np.ndarray]
"""Ranks -> values, of any one shape."""


@dataclass(frozen=True)
class FactPair:
    """A fact that differs; None where a run has no such fact. `sources` of a setting say where its values come from."""

    name: str
    first: Any
    second: Any
    sources: tuple[str | None, str | None] | None = None


@dataclass(frozen=True)
class MetricPair:
    """A test metric of both runs; None where a run has none."""

    name: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        """The second less the first."""
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class Tally:
    """For how many users the second run is better (wins), worse (losses) and equal (ties) in `measure`."""

    measure: str
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class PairedUsers:
    """The runs user by user, on the same test events. `tests` by metric: the second less the first."""

    users: int
    events: int
    tallies: list[Tally]
    tests: dict[str, Comparison]
    beam: int | None
    """Ranks beyond it are not known for one of the runs at least, and count as misses of both."""


@dataclass(frozen=True)
class RunDiff:
    """Everything is said of `first` and `second` in this order; a difference is the second less the first."""

    first: Run
    second: Run
    incomparable: list[str]
    """Why their metrics must not be compared, in sentences; empty where they may be."""
    data: list[FactPair]
    settings: list[FactPair]
    equal_settings: int
    circumstances: list[FactPair]
    cost: list[FactPair]
    """All of it, whether it differs or not."""
    metrics: list[MetricPair]
    users: PairedUsers | None
    remarks: list[str]
    """What is missing or not to be trusted, in sentences."""


def diff(first: Run, second: Run) -> RunDiff:
    """Compare two runs by their records and, where both rank the same events, by their ranks."""
    one, other = first.record, second.record
    basis = _differences(_basis(first), _basis(second))
    counts = _differences(one.dataset_counts, other.dataset_counts)
    notes = _differences(_notes(first, of_lists=False), _notes(second, of_lists=False), "test events: ")
    settings = [FactPair(each.name, each.first, each.second,
                           (one.config_sources.get(each.name), other.config_sources.get(each.name)))
                for each in _differences(one.config, other.config)]
    remarks = [f"{run.folder} is not to be trusted: {problem}; see `cpbench verify`"
               for run in (first, second) for problem in verify(run.folder).problems[:1]]
    users = None
    if one.dataset_fingerprint != other.dataset_fingerprint:
        remarks.append("users cannot be paired: the runs are on different data")
    else:
        users, problems = _paired(first, second)
        remarks += [f"users cannot be paired: {problem}" for problem in problems]
    names = dict.fromkeys([*one.metrics.test, *other.metrics.test])
    return RunDiff(
        first, second,
        incomparable=[f"{each.name} is {each.first} in the first run and {each.second} in the second"
                      for each in basis],
        data=[*basis, *counts, *notes],
        settings=settings,
        equal_settings=len(one.config.keys() & other.config.keys()) - sum(
            each.name in one.config and each.name in other.config for each in settings),
        circumstances=_differences(_circumstances(first), _circumstances(second)),
        cost=[FactPair(name, value, getattr(other.cost, name)) for name, value in one.cost.model_dump().items()],
        metrics=[MetricPair(name, one.metrics.test.get(name), other.metrics.test.get(name)) for name in names],
        users=users,
        remarks=remarks,
    )


def _differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[FactPair]:
    """The facts that are not the same in both, in their order."""
    names = dict.fromkeys([*first, *second])
    return [FactPair(prefix + name, first.get(name), second.get(name)) for name in names
            if name not in first or name not in second or first[name] != second[name]]


def _basis(run: Run) -> dict[str, Any]:
    """What two runs must share for their metrics to be compared."""
    protocol = run.record.protocol.model_dump(mode="json")
    return {"dataset": run.record.dataset, "fingerprint": run.record.dataset_fingerprint,
            **{f"protocol: {name}": value for name, value in protocol.items()}}


def _circumstances(run: Run) -> dict[str, Any]:
    """What the run was and how it was made, flat."""
    record = run.record
    return {
        "model": record.model, "recipe": record.recipe, "seed": record.seed,
        "information": ", ".join(["ids", *record.information]), "obeys": record.obeys,
        "selected by": record.selected_by, "trained in": record.precision,
        "looks at the test events": record.test_looks, **_notes(run, of_lists=True),
        **{f"version of {name}": version for name, version in record.versions.items()},
        **{f"machine: {name}": value for name, value in record.machine.model_dump().items()},
        "commit": record.commit, "changed sources": record.dirty, "command": record.command,
        "finished": record.finished,
    }


def _notes(run: Run, of_lists: bool) -> dict[str, float]:
    """What the record notes of the test events, or of the lists that were made for them."""
    return {name: value for name, value in run.record.notes.items() if (name in OF_LISTS) == of_lists}


def _paired(first: Run, second: Run) -> tuple[PairedUsers | None, list[str]]:
    """The comparison user by user, or None and why there is none."""
    users, ranks, problems = aligned([first, second])
    if problems:
        return None, problems
    beam = min((int(run.record.notes["beam"]) for run in (first, second) if "beam" in run.record.notes), default=None)
    old, new = (each[None] if beam is None else np.where(each <= beam, each, np.inf)[None]
                for each in ranks if each is not None)
    names, place = np.unique(users, return_inverse=True)

    def tally(measure: str, metric: Metric) -> Tally:
        # sums over a user's events: reciprocal ranks can be added, a miss being 0
        change = np.bincount(place, (metric(new) - metric(old))[0])
        return Tally(measure, int((change > 0).sum()), int((change < 0).sum()), int((change == 0).sum()))

    def test(metric: Metric) -> Comparison:
        return compare(Sample(per_user(metric(new), users), second.record.deterministic),
                       Sample(per_user(metric(old), users), first.record.deterministic))

    known = {f"HR@{K}": _hit, f"NDCG@{K}": _ndcg} if beam is None or beam >= K else {}
    tested = known if len(names) > 1 else {}
    tallies = [tally(f"HR@{K}", _hit)] if known else []
    return PairedUsers(len(names), len(place), [*tallies, tally("rank", reciprocal_rank)],
                       {name: test(metric) for name, metric in tested.items()}, beam), []


def _hit(ranks: np.ndarray) -> np.ndarray:
    return hit_rate(ranks, K)


def _ndcg(ranks: np.ndarray) -> np.ndarray:
    return ndcg(ranks, K)
