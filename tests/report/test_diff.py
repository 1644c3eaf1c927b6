from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from cpbench.data.protocol import Protocol
from cpbench.evaluation.metrics import accuracy
from cpbench.report.diff import FactPair, RunDiff, Tally, diff
from cpbench.report.evidence import Run
from cpbench.report.record import RunRecord
from tests.report.records import record, store

INF = float("inf")
OLD = [1.0, 12.0, INF, 7.5, 3.0, 30.0]
NEW = [2.0, 5.0, INF, 7.5, 60.0, 20.0]


def kept(results: Path, made: RunRecord, ranks: list[float], users: list[int] | None = None, first: int = 0) -> Run:
    folder = store(results, made)
    pl.DataFrame({"user": users or list(range(len(ranks))), "target": [first + event for event in range(len(ranks))],
                  "rank": ranks}).sample(fraction=1.0, shuffle=True, seed=len(made.model)).write_parquet(
                      folder / "ranks.parquet")
    return Run(made, folder)


def honest(ranks: list[float], model: str = "sasrec", beam: int | None = None, **changes) -> RunRecord:
    """A record whose metrics follow from `ranks`."""
    notes = {"events": float(len(ranks)), **({} if beam is None else {"beam": float(beam)})}
    return record(model, metrics={"test": accuracy(np.array(ranks), beam)}, notes=notes, **changes)


def compared(folder: Path, old: list[float] = OLD, new: list[float] = NEW, users: list[int] | None = None,
             beam: int | None = None, **changes) -> RunDiff:
    return diff(kept(folder, honest(old, "sasrec"), old, users),
                kept(folder, honest(new, "hstu", beam, **changes), new, users))


def test_users_are_counted_and_tested(tmp_path):
    found = compared(tmp_path)
    assert found.users is not None and (found.users.users, found.users.events) == (6, 6)
    assert found.users.tallies == [Tally("HR@10", 1, 1, 4), Tally("rank", 2, 2, 2)]
    gains = [np.where(np.array(ranks) <= 10, 1 / np.log2(np.array(ranks) + 1), 0) for ranks in (NEW, OLD)]
    expected, test = ttest_rel(*gains), found.users.tests["NDCG@10"]
    assert test.p_value == pytest.approx(expected.pvalue)
    assert test.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert test.mean == pytest.approx(gains[0].mean() - gains[1].mean())
    assert found.users.tests["HR@10"].mean == 0 and not test.covers_seeds
    assert found.incomparable == found.remarks == []


def test_metrics_stand_side_by_side(tmp_path):
    pairs = {pair.name: pair for pair in compared(tmp_path, beam=20).metrics}
    assert pairs["HR@5"].difference == pytest.approx(2 / 6 - 2 / 6)
    assert pairs["HR@1"].difference == pytest.approx(-1 / 6)
    assert pairs["MRR"].second is None and pairs["MRR"].difference is None and pairs["MRR"].first is not None


def test_beyond_a_beam_both_miss(tmp_path):
    new = [2.0, 5.0, INF, 7.5, INF, 20.0]
    found = compared(tmp_path, new=new, beam=20)
    assert found.users is not None and found.users.beam == 20
    assert found.users.tallies[1] == Tally("rank", 2, 2, 2)  # 30 against 20: a win, as 30 is a miss
    narrow = compared(tmp_path / "narrow", new=[2.0, 5.0, INF, INF, INF, INF], beam=5)
    assert narrow.users is not None and narrow.users.tests == {}
    assert narrow.users.tallies == [Tally("rank", 1, 2, 3)]


def test_how_a_model_makes_its_lists_is_no_difference_of_the_data(tmp_path):
    found = compared(tmp_path, new=[2.0, 5.0, INF, 7.5, INF, 20.0], beam=20)
    assert found.data == [] and FactPair("beam", None, 20.0) in found.circumstances


def test_a_user_with_several_events_counts_once(tmp_path):
    found = compared(tmp_path, users=[0, 0, 1, 1, 2, 3])
    assert found.users is not None and (found.users.users, found.users.events) == (4, 6)
    assert found.users.tallies == [Tally("HR@10", 1, 1, 2), Tally("rank", 1, 2, 1)]
    assert found.users.tests["NDCG@10"].mean == pytest.approx(accuracy(np.array(NEW))["NDCG@10"]
                                                              - accuracy(np.array(OLD))["NDCG@10"])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=12))
def test_the_other_way_round_everything_is_turned(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("turned")
    old, new = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    found, turned = compared(folder / "a", old, new).users, compared(folder / "b", new, old).users
    assert found is not None and turned is not None
    for one, other in zip(found.tallies, turned.tallies, strict=True):
        assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
        assert one.wins + one.losses + one.ties == len(pairs)
    assert found.tallies[1].wins == sum(after < before for before, after in pairs)
    for name, test in found.tests.items():
        assert test.mean == pytest.approx(-turned.tests[name].mean)
        assert test.p_value == pytest.approx(turned.tests[name].p_value)


def test_what_seeds_cannot_change_needs_no_warning(tmp_path):
    cost = {**record().cost.model_dump(), "epochs": 0}
    counting = [kept(tmp_path, honest(ranks, model, cost=cost), ranks)
                for ranks, model in ((OLD, "ease"), (NEW, "popularity"))]
    theirs = kept(tmp_path, honest(NEW, "theirs", cost=cost, recipe="external"), NEW)
    for second, covered in ((counting[1], True), (theirs, False)):
        users = diff(counting[0], second).users
        assert users is not None and [test.covers_seeds for test in users.tests.values()] == [covered, covered]


def test_settings_and_circumstances_that_differ(tmp_path):
    found = compared(tmp_path, seed=2, config={"width": 32, "loss": "bce", "dropout": 0.1},
                     config_sources={"width": "--set", "loss": "default", "dropout": "recipe tuned"},
                     versions={"python": "3.12"}, commit="abc", dirty=True)
    assert found.settings == [FactPair("width", 64, 32, ("default", "--set")),
                              FactPair("dropout", None, 0.1, (None, "recipe tuned"))]
    assert found.equal_settings == 1
    facts = {each.name: (each.first, each.second) for each in found.circumstances}
    assert facts == {"model": ("sasrec", "hstu"), "seed": (1, 2), "version of python": ("3.11", "3.12"),
                     "commit": (None, "abc"), "changed sources": (None, True)}
    assert [each.name for each in found.cost] == list(record().cost.model_dump())


def test_runs_that_do_not_compare_say_so_first(tmp_path):
    lag = compared(tmp_path / "lag", protocol=Protocol(serving_lag=900))
    assert lag.incomparable == ["protocol: serving_lag is 0 in the first run and 900 in the second"]
    assert lag.users is not None  # the same events
    other = compared(tmp_path / "data", dataset_fingerprint="bbbb", dataset_counts={"users": 41, "items": 300})
    assert other.incomparable == ["fingerprint is aaaa in the first run and bbbb in the second"]
    assert [each.name for each in other.data] == ["fingerprint", "users", "interactions"]
    assert other.users is None and "users cannot be paired: the runs are on different data" in other.remarks
    assert any(pair.difference for pair in other.metrics)


def test_without_the_same_ranks_the_rest_is_shown(tmp_path):
    one = kept(tmp_path, honest(OLD), OLD)
    shifted = diff(one, kept(tmp_path / "shifted", honest(NEW, "hstu"), NEW, first=1))
    assert shifted.users is None and "holds other test events" in shifted.remarks[0] and shifted.metrics
    made = honest(NEW, "ease")
    missing = diff(one, Run(made, store(tmp_path / "missing", made)))
    assert missing.users is None and len(missing.remarks) == 2
    assert "is not to be trusted" in missing.remarks[0] and "cannot be read" in missing.remarks[1]


def test_metrics_that_do_not_follow_from_the_ranks_are_remarked(tmp_path):
    found = diff(kept(tmp_path, honest(OLD), OLD), kept(tmp_path, honest(OLD, "hstu"), NEW))
    (remark,) = found.remarks
    assert "hstu" in remark and "is not to be trusted" in remark and found.users is not None


def test_one_user_is_not_tested(tmp_path):
    found = compared(tmp_path, [1.0], [30.0])
    assert found.users is not None and found.users.tests == {}
    assert found.users.tallies[0] == Tally("HR@10", 0, 1, 0)
