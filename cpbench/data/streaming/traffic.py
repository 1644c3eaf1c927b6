"""Who comes to the simulated service after its log has ended, when, and wanting what.

Everything here is drawn before a single song is shown, so that it is the same in every world: sessions, request times,
moods, drift, and the lots by which a user decides over the song at each place of a batch (common random numbers).
The rules are those of the generator; only the number of sessions is not geometric over all days but a chance a day.
"""

from dataclasses import dataclass, replace

import numpy as np

from cpbench.data.streaming.config import StreamingConfig
from cpbench.data.streaming.draws import Draws
from cpbench.data.streaming.service import Service
from cpbench.data.streaming.simulator import DAY
from cpbench.errors import UsageError

USERS, SESSIONS, TASTES, MOODS, LOTS = range(101, 106)
"""Purposes of the streams: none is one of the generator's."""
FAR = 1 << 40  # seconds between users, so that one running maximum serves all of them
BLOCK = 1024  # requests at once: some arrays of [requests, N]


@dataclass(frozen=True)
class Traffic:
    """U users and their R requests, by user and time; T genres in a taste, P places in the largest batch."""

    users: np.ndarray
    """int64 [U], ascending: their numbers in the dataset."""
    begin: int
    """When the first day begins (seconds since 1970): the midnight after the log's last interaction."""
    days: int
    user: np.ndarray
    """int64 [R]: whose request, as a position in `users`."""
    session: np.ndarray
    """int64 [R]: ascending over all users."""
    step: np.ndarray
    """int64 [R]: its number among the requests of its user, from 0."""
    time: np.ndarray
    """int64 [R]."""
    size: np.ndarray
    """int64 [R]: how many songs the request asks for."""
    planned: np.ndarray
    """int64 [R]: how many of them there is time for: all, but in the last request of a session."""
    mood: np.ndarray
    """int64 [R]: the genre in focus."""
    taste: np.ndarray
    """int64 [R, T]: the genres of the taste, the favourite first."""
    sources: np.ndarray
    """int64 [R, T + 2]: rows of ``Truth.sources``, as ``Truth.mixture_sources``."""
    best: np.ndarray
    """float64 [R]: the intent of the most wanted song that is out."""
    finish: np.ndarray
    """float64 [R, P] in [0, 1), as are the next three: the lot that decides whether the song is heard to its end,"""
    like: np.ndarray
    """whether it is liked,"""
    part: np.ndarray
    """how soon it is skipped,"""
    leave: np.ndarray
    """and whether a skip ends the session."""

    def __len__(self) -> int:
        return len(self.user)


def traffic(service: Service, users: int | None, days: int, seed: int, busier: float = 1.0) -> Traffic:
    """The requests of `users` users (None: all), drawn from those of the log, in the `days` after it.

    `busier` multiplies how often they come. Raises UsageError when the data have fewer users, or nobody comes.
    """
    config, dataset = service.config, service.dataset
    if users is not None and users > dataset.n_users:
        raise UsageError(f"{users:,} users were asked for, but {dataset.name} has {dataset.n_users:,}")
    chosen = np.sort(Draws(seed, USERS).permutation(dataset.n_users)[:users])
    begin = int(dataset.times.max()) // DAY * DAY + DAY
    user, session, first, time = _requests(service, chosen, begin, days, seed, busier)
    if not len(user):
        raise UsageError(f"none of {len(chosen):,} users comes within {days} days; simulate more of either")

    draws = Draws(seed, MOODS)
    taste = _tastes(config, service.taste[chosen], user[first], seed)[session]
    anew = first | (draws.uniform(len(user)) >= config.stay)
    slot = draws.choice(service.taste_shares, len(user))
    slot = slot[np.maximum.accumulate(np.where(anew, np.arange(len(user)), 0))]
    mood = taste[np.arange(len(user)), slot]
    size = np.array(config.batch_sizes)[draws.below(len(config.batch_sizes), len(user))]
    stop = 1 + (draws.uniform(len(user)) * size).astype(np.int64)
    genres = np.column_stack([mood, np.full(len(mood), config.genres), taste])
    sources = genres * config.languages + service.language[chosen][user, None]

    lots, shape = Draws(seed, LOTS), (len(user), max(config.batch_sizes))
    return Traffic(
        users=chosen,
        begin=begin,
        days=days,
        user=user,
        session=session,
        step=np.arange(len(user)) - np.searchsorted(user, user),
        time=time,
        size=size,
        planned=np.where(np.append(first[1:], True), stop, size),
        mood=mood,
        taste=taste,
        sources=sources,
        best=_best(service, sources, time),
        finish=lots.uniform(*shape),
        like=lots.uniform(*shape),
        part=lots.uniform(*shape),
        leave=lots.uniform(*shape),
    )


def _requests(service: Service, chosen: np.ndarray, begin: int, days: int, seed: int, busier: float
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """user, session, whether the first of its session, and time of every request, each [R]."""
    config, draws = service.config, Draws(seed, SESSIONS)
    rate = busier * np.array(config.activity_sessions) / config.days  # sessions a day, at each level
    chances = int(np.ceil(rate.max()))  # a day has as many parts, and each sees one session at most
    length = DAY // chances
    came = draws.uniform(len(chosen), days * chances) < (rate / chances)[service.level[chosen], None]
    wanted = np.arange(days * chances) * length + draws.below(length, *came.shape)
    owner, _ = np.nonzero(came)

    n_requests = draws.geometric(np.full(len(owner), config.requests_per_session))
    session = np.repeat(np.arange(len(owner)), n_requests)
    first = np.diff(session, prepend=-1) > 0
    # a session does not begin before the one before it has ended
    interval = config.request_interval + draws.within(config.request_jitter, len(session))
    before = np.cumsum(interval) - interval  # as if all requests of all users followed one another
    busy = before[first]
    start = np.maximum.accumulate(begin + wanted[came] - busy + owner * FAR) - owner * FAR + busy
    return owner[session], session, first, start[session] + before - busy[session]


def _tastes(config: StreamingConfig, taste: np.ndarray, owner: np.ndarray, seed: int) -> np.ndarray:
    """The taste at each session, int64 [sessions, T]: it goes on drifting from that at the end of the log, [U, T]."""
    draws, n_tastes = Draws(seed, TASTES), len(config.taste_shares)
    drifts = (draws.uniform(len(owner)) < config.drift) & (config.genres > n_tastes)
    slot = draws.below(n_tastes, len(owner))
    novelty = draws.uniform(len(owner), config.genres)
    now, result = taste.copy(), np.empty((len(owner), n_tastes), dtype=np.int64)
    for session, user in enumerate(owner):
        if drifts[session]:
            novelty[session, now[user]] = -1.0  # a new genre, not one of the old
            now[user, slot[session]] = novelty[session].argmax()
        result[session] = now[user]
    return result


def _best(service: Service, sources: np.ndarray, time: np.ndarray) -> np.ndarray:
    wanted = replace(service.truth, mixture_sources=sources, time=time)
    return np.concatenate([wanted.intent(np.arange(first, min(first + BLOCK, len(time)))).max(axis=1)
                           for first in range(0, len(time), BLOCK)])
