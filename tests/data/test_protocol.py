import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Events, Protocol, split
from cpbench.errors import UsageError
from tests.random_data import dataset


def hand_made() -> Dataset:
    """Three users; a's last two share a second, b has two interactions only."""
    items = np.array([0, 1, 2, 3, 4, 0, 5, 6, 7], dtype=np.int32)
    times = np.array([10, 20, 30, 90, 90, 15, 25, 95, 100], dtype=np.int64)
    return Dataset("hand", items, times, np.array([0, 5, 6, 9]),
                   pl.Series("id", ["a", "b", "c"]), pl.DataFrame({"id": list("01234567"), "title": list("01234567")}))


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return [tuple(int(x) for x in row) for row in
            zip(events.users, events.start, events.end, events.target, strict=True)]


def test_leave_one_out() -> None:
    made = split(hand_made(), Protocol())
    assert made.train_end.tolist() == [3, 6, 7]
    assert rows(made.valid) == [(0, 0, 3, 3), (2, 6, 7, 7)]
    assert rows(made.test) == [(0, 0, 4, 4), (2, 6, 8, 8)]  # the validation interaction is history at test time
    assert made.train_counts.tolist() == [2, 1, 1, 0, 0, 1, 0, 0]


def test_serving_lag_hides_a_closed_interval() -> None:
    made = split(hand_made(), Protocol(serving_lag=60))
    # a's target is at 90: hidden is [30, 90], so the interaction at 30 is hidden too
    assert rows(made.test)[0] == (0, 0, 2, 4)
    assert rows(made.valid)[0] == (0, 0, 2, 3)
    assert rows(split(hand_made(), Protocol(serving_lag=59)).test)[0] == (0, 0, 3, 4)


def test_an_event_whose_whole_history_is_hidden_stays_an_event() -> None:
    made = split(hand_made(), Protocol(serving_lag=10**6))
    assert len(made.test) == 2
    assert made.notes(made.test)["empty_history_share"] == 1.0


def test_notes_count_what_a_reader_must_know() -> None:
    notes = split(hand_made(), Protocol()).notes(split(hand_made(), Protocol()).test)
    assert notes == {"events": 2, "empty_history_share": 0.0, "target_seen_before_share": 0.0,
                     "targets_unseen_in_training": 2, "users_unseen_in_training": 0}


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(1, 15), min_size=3, max_size=12), seed=st.integers(0, 99),
       lag=st.sampled_from([0, 1, 300, 1500]), targets=st.integers(1, 3))
def test_temporal_split_equals_a_loop(lengths: list[int], seed: int, lag: int, targets: int) -> None:
    data = dataset([*lengths, 30], seed=seed)
    protocol = Protocol(split="temporal", serving_lag=lag, targets_per_user=targets, holdout=0.2)
    try:
        made = split(data, protocol)
    except UsageError:
        return
    first_cut, second_cut = np.quantile(data.times, [0.6, 0.8], method="higher")
    for part, begin, end in ((made.valid, first_cut, second_cut), (made.test, second_cut, np.inf)):
        expected = []
        for user in range(data.n_users):
            inside = range(int(data.offsets[user]), int(data.offsets[user + 1]))
            for target in [i for i in inside if begin <= data.times[i] < end][:targets]:
                visible = [i for i in inside if i < target and (lag == 0 or data.times[i] < data.times[target] - lag)]
                expected.append((user, inside.start, inside.start + len(visible), target))
        assert rows(part) == expected
    for user in range(data.n_users):  # nothing at or after the first cut is training
        train = data.times[data.offsets[user]:made.train_end[user]]
        assert (train < first_cut).all()
        assert made.train_end[user] == data.offsets[user + 1] or data.times[made.train_end[user]] >= first_cut


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=12), lag=st.sampled_from([0, 1, 300, 301]))
def test_leave_one_out_never_trains_on_what_it_tests(lengths: list[int], lag: int) -> None:
    data = dataset([*lengths, 3])
    made = split(data, Protocol(serving_lag=lag))
    mask = made.train_mask()
    assert not mask[made.valid.target].any()
    assert not mask[made.test.target].any()
    assert len(made.test) == sum(n >= 3 for n in [*lengths, 3])
    assert mask.sum() + 2 * len(made.test) == data.n_interactions
    for events in (made.valid, made.test):
        assert (events.end <= events.target).all()
        assert (events.start <= events.end).all()


@pytest.mark.parametrize(("times", "part"), [
    ([5, 5, 5, 5, 5, 5, 5, 5, 5, 5], "training interaction"),  # both cuts fall on the first time
    ([1, 1, 1, 1, 1, 9, 9, 9, 9, 9], "validation event"),  # both fall on the last
])
def test_times_that_a_temporal_split_cannot_cut_are_a_clear_error(times: list[int], part: str) -> None:
    data = Dataset("flat", np.zeros(10, dtype=np.int32), np.array(times), np.array([0, 10]), pl.Series("id", ["a"]),
                   pl.DataFrame({"id": ["0"], "title": ["0"]}))
    with pytest.raises(UsageError, match=f"no {part} under temporal: it needs interactions before, between and after "
                                         "the 80% and 90% quantiles of its times"):
        split(data, Protocol(split="temporal"))


def test_no_event_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="no validation event under leave-one-out"):
        split(dataset([1, 2]), Protocol())


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 14), min_size=1, max_size=10), ahead=st.integers(1, 9),
       lag=st.sampled_from([0, 300, 1500]))
def test_a_horizon_equals_a_loop(lengths: list[int], ahead: int, lag: int) -> None:
    """The last H interactions of a user are test, the one before validation; a user with less only trains."""
    data = dataset([*lengths, 12])
    made = split(data, Protocol(horizon=ahead, serving_lag=lag))
    valid, test, train = [], [], []
    for user in range(data.n_users):
        places = list(range(int(data.offsets[user]), int(data.offsets[user + 1])))
        if len(places) < ahead + 2:
            train += places
            continue
        train += places[:-ahead - 1]
        for target, events in ((places[-ahead - 1], valid), (places[-ahead], test)):
            seen = [place for place in places if place < target
                    and (lag == 0 or data.times[place] < data.times[target] - lag)]
            events.append((user, places[0], places[0] + len(seen), target))
    assert rows(made.valid) == valid
    assert rows(made.test) == test
    assert np.flatnonzero(made.train_mask()).tolist() == train


def test_a_horizon_that_is_longer_than_every_user_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="it needs users with at least 6 interactions"):
        split(dataset([5, 5]), Protocol(horizon=4))
