"""The closed loop against a slow one that serves one request at a time, and policies whose order is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cpbench.climber_pilot.instructed import InstructedPilot, InstructedPilotConfig
from cpbench.climber_pilot.model import ClimberPilotConfig
from cpbench.climber_pilot.serving import instructions, recommend_given, union
from cpbench.data.streaming import load_or_generate
from cpbench.data.streaming.service import Service
from cpbench.data.streaming.simulator import DAY
from cpbench.data.streaming.traffic import Traffic, traffic
from cpbench.data.streaming.world import WorldConfig, respond
from cpbench.errors import UsageError
from cpbench.experiments.lift import EVERYBODY, METRICS, RESAMPLES, differences, groups, per_user, values
from cpbench.experiments.online_test import world_config
from cpbench.experiments.simulation import Instructed, Plain, PolicyRequests, Served, serve
from cpbench.models.base import Facts, Histories, Recommender
from tests.data.streaming.tiny import TINY

WORLD = WorldConfig(repeat_after=DAY)


class Echo:
    """A model of the history: how often each song is in it, the latest one most. It feeds on what it shows."""

    search = Recommender.search

    def __init__(self, n_items: int) -> None:
        self.n_items = n_items

    def score(self, histories: Histories) -> torch.Tensor:
        scores = torch.zeros(len(histories), self.n_items)
        for row in range(len(histories)):
            items = histories.items[histories.offsets[row]:histories.offsets[row + 1]]
            scores[row].index_add_(0, items, torch.ones(len(items)))
            if len(items):
                scores[row, items[-1]] += 5.0
        return scores


class Popular(Echo):
    """The log's counts, the same for everybody."""

    def __init__(self, service: Service) -> None:
        self.counts = torch.from_numpy(np.bincount(service.dataset.items, minlength=service.dataset.n_items)).float()

    def score(self, histories: Histories) -> torch.Tensor:
        return self.counts.expand(len(histories), -1)


class Oracle:
    """The songs that are wanted most: no model can know them."""

    def __init__(self, service: Service, coming: Traffic) -> None:
        self.truth = replace(service.truth, mixture_sources=coming.sources, time=coming.time)

    def lists(self, asked: PolicyRequests) -> np.ndarray:
        intent = np.where(asked.hidden.numpy(), -1.0, self.truth.intent(asked.requests))
        return np.argsort(-intent, axis=1, kind="stable")[:, :asked.k]


class Watched(Plain):
    """Remembers what it was asked."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.asked: list[PolicyRequests] = []

    def lists(self, asked: PolicyRequests) -> np.ndarray:
        self.asked.append(asked)
        return super().lists(asked)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Service:
    folder = tmp_path_factory.mktemp("data") / "streaming"
    return Service.load(load_or_generate(folder, TINY), folder)


@pytest.fixture(scope="module")
def coming(service) -> Traffic:
    return traffic(service, 50, 6, seed=3)


def serve_slowly(model, service: Service, coming: Traffic, config: WorldConfig) -> tuple[Served, dict[int, list]]:
    """One request at a time, in the order of time, with lists; and the histories each request saw."""
    data, k = service.dataset, coming.finish.shape[1]
    logs = [[(int(time), int(item)) for time, item in zip(data.times[slice(*data.offsets[user:user + 2])],
             data.items[slice(*data.offsets[user:user + 2])], strict=True)] for user in coming.users]
    latest = [{item: time for time, item in log} for log in logs]
    whole = Served(np.full(coming.finish.shape, -1), *(np.zeros(coming.finish.shape, bool) for _ in range(3)),
                   np.zeros(coming.finish.shape, np.int64))
    seen, over = {}, set()
    for request in np.argsort(coming.time, kind="stable"):
        user, now = coming.user[request], int(coming.time[request])
        if coming.session[request] in over:
            continue
        seen[int(request)] = visible = [entry for entry in logs[user] if entry[0] < now - config.serving_lag]
        history = Histories.of_lists([[item for _, item in visible]], [[time for time, _ in visible]])
        scores = model.score(history)[0].tolist()
        out = [song for song in range(data.n_items) if service.truth.released[song] <= now]
        fresh = [song for song in out if latest[user].get(song, -10**18) <= now - config.repeat_after]
        if len(fresh) < k:
            fresh = fresh + sorted(set(out) - set(fresh), key=lambda song: (latest[user][song], song))[:k - len(fresh)]
        songs = sorted(fresh, key=lambda song: (-scores[song], song))[:coming.size[request]]
        shown = np.array([songs + [-1] * (k - len(songs))])
        response = respond(service, coming, config, np.array([request]), shown)
        whole.shown[request], whole.seconds[request] = shown[0], response.seconds[0]
        whole.begun[request], whole.finished[request] = response.begun[0], response.finished[0]
        whole.liked[request] = response.liked[0]
        latest[user].update(dict.fromkeys(songs, now))
        logged = response.begun if config.log_skips else response.finished
        logs[user] += [(int(response.time[0, place]), songs[place]) for place in np.flatnonzero(logged[0])]
        if response.left[0]:
            over.add(coming.session[request])
    return whole, seen


def same(one: Served, other: Served) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


@pytest.mark.parametrize("knobs", [
    {}, {"serving_lag": 0}, {"serving_lag": 5 * DAY}, {"log_skips": False, "leave": 0.0}, {"repeat_after": 300 * DAY},
    {"repeat_after": 0, "leave": 1.0, "like_skipped": 1.0},
], ids=str)
def test_serving_together_is_serving_one_by_one(service, coming, knobs, monkeypatch):
    monkeypatch.setattr("cpbench.experiments.simulation.BLOCK", 7)
    config = WORLD.model_copy(update=knobs)
    model = Echo(service.dataset.n_items)
    expected, seen = serve_slowly(model, service, coming, config)
    policy, done = Watched(model), []
    assert same(serve(policy, service, coming, config, done.append), expected)
    assert sum(done) == len(coming)
    for ask in policy.asked:
        for row, request in enumerate(ask.requests.tolist()):
            part = slice(ask.histories.offsets[row], ask.histories.offsets[row + 1])
            shown = list(zip(ask.histories.times[part].tolist(), ask.histories.items[part].tolist(), strict=True))
            assert shown == seen.pop(request)
            assert ask.histories.request_times[row] == coming.time[request]
    assert not seen


def test_the_lag_hides_what_the_policy_showed_just_now(service):
    coming = traffic(service, None, 6, seed=1)
    latest = {}
    for lag in (0, 900, 7 * DAY):
        policy = Watched(Popular(service))
        serve(policy, service, coming, WORLD.model_copy(update={"serving_lag": lag}))
        known = [ask.histories for ask in policy.asked]
        gaps = torch.cat([(each.request_times - each.times[each.offsets[1:] - 1])[each.lengths > 0] for each in known])
        latest[lag] = int(gaps.min())
        assert latest[lag] > lag
    assert latest[0] < 900 < latest[900] < 1900  # without a lag the batch before this one is visible


def test_the_same_policy_twice_differs_by_exactly_nothing_and_a_seed_repeats(service, coming):
    worlds = [serve(Plain(Echo(service.dataset.n_items)), service, coming, WORLD) for _ in range(2)]
    assert same(*worlds)
    worth = [per_user(world, service, coming) for world in worlds]
    (gaps,) = differences(worth, groups(service, coming), seed=3)
    for by_metric in gaps.values():
        for gap in by_metric.values():
            assert (gap.difference, gap.low, gap.high, gap.lift, gap.lift_low, gap.lift_high) == (0, 0, 0, 0, 0, 0)
    again, other = traffic(service, 50, 6, seed=3), traffic(service, 50, 6, seed=4)
    assert all(np.array_equal(vars(again)[name], vars(coming)[name]) for name in vars(coming))
    assert not np.array_equal(other.users, coming.users)


def test_an_oracle_beats_popularity_which_beats_the_unwanted(service):
    coming = traffic(service, None, 6, seed=1)
    popular = Popular(service)

    class Unwanted(Oracle):
        def lists(self, asked: PolicyRequests) -> np.ndarray:
            intent = np.where(asked.hidden.numpy(), 2.0, self.truth.intent(asked.requests))
            return np.argsort(intent, axis=1, kind="stable")[:, :asked.k]

    policies = [Plain(popular), Oracle(service, coming), Unwanted(service, coming)]
    worlds = [serve(policy, service, coming, WORLD) for policy in policies]
    best, worst = differences([per_user(world, service, coming) for world in worlds], groups(service, coming), seed=1)
    for metric in ("like_rate", "listening_minutes"):
        assert best[EVERYBODY][metric].low > 0 > worst[EVERYBODY][metric].high
    assert worlds[1].made.sum() > worlds[0].made.sum() > worlds[2].made.sum()  # skips end sessions


def test_what_is_shown_is_out_and_distinct_and_not_shown_again_soon(service, coming):
    world = serve(Plain(Echo(service.dataset.n_items)), service, coming, WORLD)
    assert 0 < world.made.sum() < len(coming)
    last: dict[tuple[int, int], int] = {}
    for request in np.flatnonzero(world.made):
        songs = world.shown[request][world.shown[request] >= 0].tolist()
        assert len(set(songs)) == len(songs) == coming.size[request]
        for song in songs:
            assert service.truth.released[song] <= coming.time[request]
            key = (int(coming.user[request]), song)
            assert coming.time[request] - last.get(key, -10**9) >= DAY
            last[key] = int(coming.time[request])
    assert not (world.liked & ~world.finished).any() and not (world.finished & ~world.begun).any()
    assert (world.seconds[world.finished] == TINY.song_seconds).all()
    assert (world.seconds > 0).tolist() == world.begun.tolist()
    assert (world.seconds[world.begun & ~world.finished] <= TINY.song_seconds / 2).all()
    assert (world.begun.sum(axis=1) <= coming.planned).all()


def test_metrics_are_what_they_say(service, coming):
    world = serve(Plain(Popular(service)), service, coming, WORLD)
    worth, members = per_user(world, service, coming), groups(service, coming)
    assert list(members) == ["all", "low", "middle", "high"]
    assert sum(group.sum() for group in members.values()) == 2 * len(coming.users)
    language = service.dataset.item_table["language"].list.first().to_list()
    for group in members.values():
        inside = group[coming.user]
        found = values(worth, group)
        assert found["like_rate"] == pytest.approx(world.liked[inside].sum() / world.begun[inside].sum())
        assert found["listening_minutes"] == pytest.approx(world.seconds[inside].sum() / 60 / group.sum() / 6)
        varieties = []
        for user in np.flatnonzero(group):
            heard = [language[song] for song in world.shown[coming.user == user].ravel() if song >= 0]
            if heard:
                shares = [heard.count(name) / len(heard) for name in set(heard)]
                varieties.append(math.exp(-sum(share * math.log(share) for share in shares)))
        assert found["language_diversity"] == pytest.approx(np.mean(varieties))
    nobody = values(worth, np.zeros(len(coming.users), dtype=bool))
    assert list(nobody) == list(METRICS) and all(math.isnan(value) for value in nobody.values())


def test_intervals_are_paired_and_cover(service):
    """Two ratios that differ by a constant have an interval of no width, however much the users differ."""
    users = np.random.default_rng(0).random((len(METRICS), 2, 40)) + 1.0
    shifted = users.copy()
    shifted[:, 0] += 0.5 * users[:, 1]
    everybody = {EVERYBODY: np.ones(40, dtype=bool), "one": np.arange(40) == 0, "none": np.zeros(40, dtype=bool)}
    (gaps,) = differences([users, shifted], everybody, seed=1)
    for gap in gaps[EVERYBODY].values():
        assert gap.difference == pytest.approx(0.5) and gap.low == pytest.approx(0.5) == gap.high
        assert gap.lift_low < gap.lift < gap.lift_high
    assert gaps["one"]["like_rate"].difference == pytest.approx(0.5)  # though many resamples lack that user
    assert math.isnan(gaps["none"]["like_rate"].difference)
    noise = users.copy()
    noise[:, 0] += np.random.default_rng(1).normal(0, 1, 40)
    (gaps,) = differences([users, noise], everybody, seed=1)
    gap = gaps[EVERYBODY]["like_rate"]
    weights = users[0, 1] / users[0, 1].sum()
    spread = np.sqrt((weights ** 2 * ((noise - users)[0, 0] / users[0, 1] - gap.difference) ** 2).sum())
    assert (gap.high - gap.low) / 2 / 1.96 == pytest.approx(spread, rel=0.2) and RESAMPLES == 1000


def test_an_instructed_model_serves_its_instructions_and_fills_what_they_leave(service, coming):
    torch.manual_seed(0)
    config = InstructedPilotConfig(pilot=ClimberPilotConfig(width=8, heads=1, category_width=4), condition="genre")
    pilot = InstructedPilot(config, Facts.of(service.dataset)).eval()
    histories = Histories.of_lists([[1, 2, 3, 4], [], [5]])
    histories = replace(histories, request_times=torch.tensor([10**9] * 3))
    hidden = torch.zeros(3, service.dataset.n_items, dtype=torch.bool)
    hidden[:, 7:] = True
    asked = PolicyRequests(np.arange(3), histories, hidden, 4)
    found = Instructed(pilot, 2).lists(asked)
    general = Plain(pilot).lists(asked)
    wanted = instructions(pilot.conditions, histories, 2)
    merged = union(*recommend_given(pilot, histories, wanted, 4, hidden), 4)
    assert found[0].tolist() == merged[0].tolist()
    assert found[1].tolist() == general[1].tolist()  # a user without a history has no instructions
    assert all(len(set(row)) == 4 and max(row) < 7 for row in found.tolist())
    world = serve(Instructed(pilot, 3), service, coming, WORLD)
    assert (world.shown[world.made, :3] >= 0).all()


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"leaves": 0.1}, "unknown setting 'leaves'; did you mean 'leave'"),
    ({"leave": 1.5}, "leave = 1.5: Input should be less than or equal to 1"),
    ({"finish_least": 0.9, "finish_most": 0.5}, "finish_least = 0.9 is more than finish_most = 0.5"),
    ({"leave": "often"}, "leave = 'often': Input should be a valid number"),
])
def test_a_knob_that_is_wrong_is_one_sentence(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        world_config(settings)
