"""The closed loop: policies serve the same simulated users, each in a world of its own that remembers what it showed.

This is the public stand-in for the online test of the Climber-Pilot paper (Tables 5 and 6); docs/simulate.md has the
assumptions. Users do not influence one another, so that the n-th requests of all users are served together, whatever
their times are: that is the same as serving all requests in the order of time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cpbench.climber_pilot.instructed import InstructedPilot
from cpbench.climber_pilot.serving import filled, instructions, recommend_given, union
from cpbench.data.streaming.service import Service
from cpbench.data.streaming.traffic import Traffic
from cpbench.data.streaming.world import WorldConfig, respond
from cpbench.models.base import Histories, Recommender

BLOCK = 256  # requests that are scored at once
LONG_AGO = np.iinfo(np.int64).min // 2


@dataclass(frozen=True)
class PolicyRequests:
    """b requests to a policy: what it may know, and what it must not show.

    histories: what is visible, with the times of the requests; hidden bool [b, N], of which at least k songs a row are
    free; requests int64 [b]: their numbers in the traffic (nothing that a model could use).
    """

    requests: np.ndarray
    histories: Histories
    hidden: Tensor
    k: int


class Policy(Protocol):
    def lists(self, asked: PolicyRequests) -> np.ndarray:
        """The k best songs that are not hidden, best first, int64 [b, k]."""


class Plain:
    """Any model, by its lists; ties go to the smaller id."""

    def __init__(self, model: Recommender) -> None:
        self.model = model
        if isinstance(model, torch.nn.Module):
            model.eval()

    def lists(self, asked: PolicyRequests) -> np.ndarray:
        with torch.inference_mode():
            return self.model.search(asked.histories, asked.k, asked.hidden)[0].cpu().numpy()


class Instructed(Plain):
    """A fine-tuned Climber-Pilot, by the union of the lists of each user's P instructions."""

    def __init__(self, model: InstructedPilot, count: int) -> None:
        super().__init__(model)
        self.pilot, self.count = model, count

    def lists(self, asked: PolicyRequests) -> np.ndarray:
        wanted = instructions(self.pilot.conditions, asked.histories, self.count)
        ids, scores = recommend_given(self.pilot, asked.histories, wanted, asked.k, asked.hidden)
        merged = union(ids, scores, asked.k)
        if bool((merged < 0).any()):
            merged = filled(merged, torch.from_numpy(super().lists(asked)))
        return merged.numpy()


@dataclass(frozen=True)
class Served:
    """What happened in one world. All [R] or [R, P], by request; a request that was never made shows nothing (-1)."""

    shown: np.ndarray
    """int64 [R, P]: the songs; -1 beyond a request's size."""
    begun: np.ndarray
    finished: np.ndarray
    liked: np.ndarray
    """bool [R, P]"""
    seconds: np.ndarray
    """int64 [R, P]: how long each song was heard."""

    @property
    def made(self) -> np.ndarray:
        """bool [R]: whether the request was made (its session had not ended early)."""
        return np.asarray(self.shown[:, 0] >= 0)


def serve(policy: Policy, service: Service, traffic: Traffic, config: WorldConfig,
          advance: Callable[[int], None] = lambda requests: None) -> Served:
    """Run one world. Deterministic given its arguments; `advance` is told how many more requests are done."""
    log = _Log(service, traffic)
    shape = traffic.finish.shape
    shown = np.full(shape, -1, dtype=np.int64)
    begun, finished, liked = (np.zeros(shape, dtype=bool) for _ in range(3))
    seconds = np.zeros(shape, dtype=np.int64)
    over = np.zeros(int(traffic.session[-1]) + 1, dtype=bool)  # sessions that a skip ended
    by_step = np.argsort(traffic.step, kind="stable")
    bounds = np.searchsorted(traffic.step[by_step], np.arange(traffic.step.max() + 2))
    for first, last in pairwise(bounds.tolist()):
        for begin in range(first, last, BLOCK):
            planned = by_step[begin:min(begin + BLOCK, last)]
            requests = planned[~over[traffic.session[planned]]]
            if len(requests):
                asked = log.ask(requests, config, shape[1])
                songs = np.where(np.arange(shape[1]) < traffic.size[requests, None], policy.lists(asked), -1)
                response = respond(service, traffic, config, requests, songs)
                shown[requests], seconds[requests] = songs, response.seconds
                begun[requests], finished[requests] = response.begun, response.finished
                liked[requests] = response.liked
                over[traffic.session[requests[response.left]]] = True
                log.show(requests, songs)
                log.play(requests, songs, response.time, response.begun if config.log_skips else response.finished)
            advance(len(planned))
    return Served(shown, begun, finished, liked, seconds)


class _Log:
    """One world's memory: every user's interactions by time, and when each was last shown each song."""

    def __init__(self, service: Service, traffic: Traffic) -> None:
        dataset = service.dataset
        self.traffic, self.released = traffic, service.truth.released
        start, stop = dataset.offsets[traffic.users], dataset.offsets[traffic.users + 1]
        more = np.bincount(traffic.user, weights=traffic.size, minlength=len(traffic.users)).astype(np.int64)
        self.start = np.cumsum(stop - start + more) - (stop - start + more)
        self.end = self.start + (stop - start)  # what is filled so far
        self.items = np.zeros(int((stop - start + more).sum()), dtype=np.int64)
        self.times = np.zeros_like(self.items)
        self.latest = np.full((len(traffic.users), dataset.n_items), LONG_AGO)
        for user, (first, last) in enumerate(zip(start, stop, strict=True)):
            self.items[self.start[user]:self.end[user]] = dataset.items[first:last]
            self.times[self.start[user]:self.end[user]] = dataset.times[first:last]
            self.latest[user, dataset.items[first:last]] = dataset.times[first:last]  # by time: the last one stays

    def ask(self, requests: np.ndarray, config: WorldConfig, k: int) -> PolicyRequests:
        user, time = self.traffic.user[requests], self.traffic.time[requests]
        start = self.start[user]
        visible = np.array([np.searchsorted(self.times[first:last], moment, side="left") for first, last, moment
                            in zip(start, self.end[user], time - config.serving_lag, strict=True)], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(visible)])
        index = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - start, visible)
        histories = Histories(*map(torch.from_numpy, (self.items[index], self.times[index], offsets, time)))
        return PolicyRequests(requests, histories, torch.from_numpy(self._hidden(user, time, config, k)), k)

    def _hidden(self, user: np.ndarray, time: np.ndarray, config: WorldConfig, k: int) -> np.ndarray:
        """Which songs may not be shown, bool [b, N]: not yet out, or shown lately, unless fewer than k would be left.

        The service knows what it showed, however late the log is.
        """
        out = self.released <= time[:, None]
        hidden = ~out | (self.latest[user] > time[:, None] - config.repeat_after)
        for row in np.flatnonzero((~hidden).sum(axis=1) < k):  # then those that were shown longest ago come back
            age = np.where(out[row], self.latest[user[row]], np.iinfo(np.int64).max)
            hidden[row, np.argsort(age, kind="stable")[:k]] = False
        return hidden

    def show(self, requests: np.ndarray, songs: np.ndarray) -> None:
        row, place = np.nonzero(songs >= 0)
        self.latest[self.traffic.user[requests[row]], songs[row, place]] = self.traffic.time[requests[row]]

    def play(self, requests: np.ndarray, songs: np.ndarray, time: np.ndarray, logged: np.ndarray) -> None:
        """Append the songs that `logged` bool [b, P] marks, one request a user."""
        row, place = np.nonzero(logged)
        count = logged.sum(axis=1)
        user = self.traffic.user[requests]
        at = self.end[user][row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        self.items[at], self.times[at] = songs[row, place], time[row, place]
        self.end[user] += count
