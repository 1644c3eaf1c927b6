"""What the simulated users do after the log: they go on as the generator left them, and want what it says."""

from dataclasses import replace

import numpy as np
import pytest

from cpbench.data.streaming import generate, load_or_generate
from cpbench.data.streaming.service import Service
from cpbench.data.streaming.simulator import DAY, activity_levels
from cpbench.data.streaming.traffic import Traffic, traffic
from cpbench.data.streaming.world import WorldConfig, finish_probability, like_probability, respond
from cpbench.errors import UsageError
from tests.data.streaming.tiny import TINY
from tests.experiments.tiny import tiny

WORLD = WorldConfig()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Service:
    folder = tmp_path_factory.mktemp("data") / "streaming"
    return Service.load(load_or_generate(folder, TINY), folder)


@pytest.fixture(scope="module")
def coming(service) -> Traffic:
    return traffic(service, 50, 6, seed=3)


def test_the_traffic_goes_on_where_the_log_ended(service):
    coming = traffic(service, None, 60, seed=2)
    assert coming.users.tolist() == list(range(TINY.users))
    assert coming.begin % DAY == 0 and 0 < coming.begin - service.dataset.times.max() <= DAY
    assert (coming.time >= coming.begin).all()
    same_user = np.diff(coming.user) == 0
    least = TINY.request_interval - TINY.request_jitter
    assert (np.diff(coming.time)[same_user] >= least).all()
    assert (coming.step[np.append(True, ~same_user)] == 0).all()
    for level, sessions in enumerate(TINY.activity_sessions):
        users = service.level == level
        came = len(np.unique(coming.session[users[coming.user]])) / users.sum()
        assert came == pytest.approx(sessions / TINY.days * 60, rel=0.15)
    first = np.flatnonzero(coming.step == 0)
    kept = (coming.taste[first] == service.taste[coming.user[first]]).sum(axis=1)
    assert set(kept) == {2, 3} and (kept == 3).mean() == pytest.approx(1 - TINY.drift, abs=0.1)
    assert (coming.mood[:, None] == coming.taste).any(axis=1).all()
    assert (coming.sources % TINY.languages == service.language[coming.user][:, None]).all()
    busy = traffic(service, None, 60, seed=2, busier=3.0)
    assert len(busy) == pytest.approx(3 * len(coming), rel=0.1)


def test_the_levels_of_activity_are_those_of_the_log():
    config = TINY.model_copy(update={"users": 2000, "batch_sizes": (1,)})
    dataset, _ = generate(config)
    for level, sessions in enumerate(TINY.activity_sessions):
        plays = np.diff(dataset.offsets)[activity_levels(config) == level].mean()
        assert plays == pytest.approx(sessions * config.requests_per_session, rel=0.15)


def test_users_like_and_finish_what_they_truly_want(service, coming):
    truth = replace(service.truth, mixture_sources=coming.sources, time=coming.time)
    requests = np.arange(20)
    intent = truth.intent(requests)
    ranked = np.argsort(-intent, axis=1)[:, [0, 1, 5, -1]]
    finish = finish_probability(service, coming, WORLD, requests, ranked)
    np.testing.assert_allclose(finish[:, 0], WORLD.finish_most)
    assert (np.diff(finish, axis=1) <= 0).all() and (finish >= WORLD.finish_least).all()
    relative = np.take_along_axis(intent, ranked, 1) / intent.max(axis=1, keepdims=True)
    np.testing.assert_allclose(finish, 0.2 + 0.75 * relative ** 0.5)
    like = like_probability(service, coming, WORLD, requests, ranked)
    genres = service.dataset.item_table["genre"].to_list()
    names = dict(zip(np.argmax(service.member, axis=1).tolist(), genres, strict=True))
    assert len(names) == TINY.genres
    for row in range(20):
        for place, song in enumerate(ranked[row]):
            carried = np.flatnonzero(service.member[song])
            covered = sum(share for share, genre in zip((0.6, 0.3, 0.1), coming.taste[row], strict=True)
                          if genre in carried)
            expected = 0.6 * (0.5 * (coming.mood[row] in carried) + 0.5 * covered)
            assert like[row, place] == pytest.approx(expected)


def test_a_skip_may_end_the_session_and_lots_are_those_of_the_place(service, coming):
    requests = np.flatnonzero(coming.planned == 4)
    shown = np.broadcast_to(np.array([7, 3, 9, 1]), (len(requests), 4))
    patient, angry = (respond(service, coming, WORLD.model_copy(update={"leave": leave}), requests, shown)
                      for leave in (0.0, 1.0))
    assert patient.begun.all() and not patient.left.any()
    first_skip = np.argmin(np.column_stack([patient.finished, np.zeros(len(requests), bool)]), axis=1)
    assert angry.left.tolist() == (first_skip < 4).tolist()
    assert angry.begun.sum(axis=1).tolist() == np.minimum(first_skip + 1, 4).tolist()
    for name in ("finished", "liked", "seconds"):  # up to there nothing else has changed
        assert (getattr(angry, name) == np.where(angry.begun, getattr(patient, name), 0)).all()
    assert (patient.time[:, 0] == coming.time[requests]).all()
    assert (np.diff(patient.time, axis=1) == patient.seconds[:, :-1]).all()


def test_too_many_users_nobody_at_all_and_real_data_are_refused(service, tmp_path):
    with pytest.raises(UsageError, match="500 users were asked for, but streaming has 120"):
        traffic(service, 500, 1, seed=1)
    with pytest.raises(UsageError, match="none of 1 users comes within 1 days"):
        traffic(service, 1, 1, seed=1, busier=1e-6)
    with pytest.raises(UsageError, match="dataset 'tiny' is not simulated"):
        Service.load(tiny(), tmp_path)
