"""The simulator: songs, users whose taste drifts, requests that expose batches, and the log they leave.

songs -> users and their taste per session -> sessions -> requests, each with a mood
-> per request a set of songs drawn from its intent -> logged one after another, mostly in the platform's order.
All users at once: loops run over the steps of a session history, never over users or songs.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from cpbench.data.dataset import Dataset
from cpbench.data.streaming.config import GENRES, LANGUAGES, StreamingConfig
from cpbench.data.streaming.draws import TOTAL, Draws, integer_shares
from cpbench.data.streaming.truth import Truth
from cpbench.errors import UsageError

START = 1_735_689_600  # 2025-01-01 00:00 UTC
DAY = 86_400
BACK_CATALOGUE = 3650 * DAY
MOST_REDRAWS = 10_000


@dataclass(frozen=True)
class Songs:
    """N songs. member bool [N, G]; language, rank, key int64 [N]; released int64 [N] (seconds since 1970)."""

    member: np.ndarray
    language: np.ndarray
    rank: np.ndarray
    released: np.ndarray
    key: np.ndarray

    def table(self) -> pl.DataFrame:
        """The item table of the dataset."""
        number = [f"{song + 1:05d}" for song in range(len(self.rank))]
        return pl.DataFrame({
            "id": [f"song-{digits}" for digits in number],
            "title": [f"Song {digits}" for digits in number],
            "released": self.released,
            "genre": [[GENRES[genre] for genre in np.flatnonzero(row)] for row in self.member],
            "language": [[LANGUAGES[language]] for language in self.language],
        })


@dataclass(frozen=True)
class Requests:
    """R requests, by user and time. user, session, time, size [R]; mood [R] and taste [R, T] are genres.

    last bool [R]: the session ends here, somewhere inside the batch.
    """

    user: np.ndarray
    time: np.ndarray
    mood: np.ndarray
    taste: np.ndarray
    size: np.ndarray
    last: np.ndarray


def generate(config: StreamingConfig) -> tuple[Dataset, Truth]:
    """Simulate the service. Deterministic given `config`. Raises UsageError when no batch can be drawn from it."""
    songs = _songs(config)
    language = Draws(config.seed, 2).choice(_language_shares(config), config.users)
    requests = _requests(config)
    sources = _sources(config, songs)
    mixture_sources, mixture_shares = _mixture(config, requests, language)
    batches = _batches(config, songs, requests, sources, mixture_sources, mixture_shares)

    draws = Draws(config.seed, 6)
    by_key = draws.uniform(len(batches)) < config.order_artefact
    keys = np.where(batches >= 0, songs.key[batches], len(songs.key))  # absent places stay last
    ordered = np.take_along_axis(batches, np.argsort(keys, axis=1, kind="stable"), 1)
    batches = np.where(by_key[:, None], ordered, batches)
    played = np.where(requests.last, 1 + _scaled(draws.raw(len(batches)), requests.size), requests.size)

    place = np.arange(batches.shape[1])
    heard = place < played[:, None]  # [R, largest batch]
    request = np.repeat(np.arange(len(batches)), played)
    jitter = draws.within(config.song_jitter, *batches.shape) * (place > 0)
    times = (requests.time[:, None] + place * config.song_seconds + jitter)[heard]
    items, users = batches[heard], requests.user[request]
    dataset = Dataset(
        name="streaming",
        items=items.astype(np.int32),
        times=times,
        offsets=np.searchsorted(users, np.arange(config.users + 1)).astype(np.int64),
        user_ids=pl.Series("id", [f"user-{user + 1:05d}" for user in range(config.users)]),
        item_table=songs.table(),
        signals=pl.DataFrame({"like": _likes(config, songs, requests.taste[request], items)}),
    )
    truth = Truth(
        sources=sources.astype(np.int32),
        mixture_sources=mixture_sources.astype(np.int16),
        mixture_shares=mixture_shares,
        size=requests.size.astype(np.int8),
        time=requests.time,
        sorted=by_key,
        request=request.astype(np.int32),
        place=np.broadcast_to(place, heard.shape)[heard].astype(np.int8),
        key=songs.key.astype(np.int32),
        released=songs.released,
        order_artefact=config.order_artefact,
    )
    return dataset, truth


def _scaled(raw: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """uint64 [R] -> int64 uniform in 0 .. bounds - 1."""
    return (((raw >> np.uint64(32)) * bounds.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def _language_shares(config: StreamingConfig) -> np.ndarray:
    return 1.0 / np.arange(1, config.languages + 1)


def _songs(config: StreamingConfig) -> Songs:
    draws, n_songs = Draws(config.seed, 1), config.songs
    member = np.zeros((n_songs, config.genres), dtype=bool)
    first = draws.permutation(n_songs) % config.genres  # every genre has its share of songs
    member[np.arange(n_songs), first] = True
    if config.genres > 1:
        second = (first + 1 + draws.below(config.genres - 1, n_songs)) % config.genres
        two = draws.uniform(n_songs) < config.second_genre
        member[np.flatnonzero(two), second[two]] = True
    new = draws.uniform(n_songs) < config.new_songs
    age = draws.below(BACK_CATALOGUE, n_songs)
    return Songs(
        member=member,
        language=draws.choice(_language_shares(config), n_songs),
        rank=draws.permutation(n_songs),
        released=np.where(new, START + draws.below(config.days * DAY, n_songs), START - 1 - age),
        key=draws.permutation(n_songs),
    )


def activity_levels(config: StreamingConfig) -> np.ndarray:
    """The level of activity of every user, int64 [users], 0 the least active: what `generate` drew."""
    return _levels(config, Draws(config.seed, 3))


def _levels(config: StreamingConfig, draws: Draws) -> np.ndarray:
    return draws.choice(np.array(config.activity_shares), config.users)


def _requests(config: StreamingConfig) -> Requests:
    draws = Draws(config.seed, 3)
    level = _levels(config, draws)
    n_sessions = draws.geometric(np.array(config.activity_sessions, dtype=np.float64)[level])
    user = np.repeat(np.arange(config.users), n_sessions)  # [sessions]
    n_requests = draws.geometric(np.full(len(user), config.requests_per_session))
    session = np.repeat(np.arange(len(user)), n_requests)  # [R]
    new_session = np.diff(session, prepend=-1) > 0

    # a session starts anywhere in the days, but not before the one before it has ended
    interval = config.request_interval + draws.within(config.request_jitter, len(session))
    before = np.cumsum(interval) - interval  # as if all requests of all users followed one another
    busy = before[new_session]  # [sessions]
    wanted = START + draws.below(config.days * DAY, len(user))
    apart = user * (1 << 40)  # so that the running maximum starts anew with each user
    free = np.sort(wanted + apart) - apart - busy
    start = np.maximum.accumulate(free + user * (1 << 40)) - user * (1 << 40) + busy
    time = start[session] + before - busy[session]

    taste = _tastes(config, user, n_sessions)[session]  # [R, T]
    anew = new_session | (draws.uniform(len(session)) >= config.stay)
    slot = draws.choice(np.array(config.taste_shares), len(session))
    slot = slot[np.maximum.accumulate(np.where(anew, np.arange(len(session)), 0))]
    return Requests(
        user=user[session],
        time=time,
        mood=taste[np.arange(len(session)), slot],
        taste=taste,
        size=np.array(config.batch_sizes)[draws.below(len(config.batch_sizes), len(session))],
        last=np.append(new_session[1:], True),
    )


def _tastes(config: StreamingConfig, user: np.ndarray, n_sessions: np.ndarray) -> np.ndarray:
    """The genres of the user's taste at each session, int64 [sessions, T]: drawn once, then one replaced at times."""
    draws, n_tastes = Draws(config.seed, 4), len(config.taste_shares)
    first = np.cumsum(n_sessions) - n_sessions
    taste = np.empty((len(user), n_tastes), dtype=np.int64)
    taste[first] = np.argsort(draws.raw(config.users, config.genres), axis=1, kind="stable")[:, :n_tastes]
    drifts = draws.uniform(len(user)) < config.drift
    slot = draws.below(n_tastes, len(user))
    novelty = draws.raw(len(user), config.genres)
    for step in range(1, int(n_sessions.max())):
        now = first[n_sessions > step] + step
        taste[now] = taste[now - 1]
        changed = now[drifts[now]] if config.genres > n_tastes else now[:0]
        preference = novelty[changed]
        np.put_along_axis(preference, taste[changed], np.uint64(0), 1)  # a new genre, not one of the old
        taste[changed, slot[changed]] = preference.argmax(axis=1)
    return taste


def _sources(config: StreamingConfig, songs: Songs) -> np.ndarray:
    """Integer song probabilities of every source, int64 [(G + 1) x languages, N]; genre G is the whole catalogue."""
    popularity = (1.0 + songs.rank) ** -config.popularity_exponent
    in_genre = np.vstack([songs.member.T, np.ones(config.songs, dtype=bool)])  # [G + 1, N]
    heard = np.where(songs.language == np.arange(config.languages)[:, None], 1.0, config.foreign)  # [languages, N]
    weights = popularity * in_genre[:, None] * heard
    empty = weights.sum(axis=2, keepdims=True) == 0  # no song of the genre in the language, and foreign = 0
    weights = np.where(empty, popularity * in_genre[:, None], weights)
    return integer_shares(weights.reshape(-1, config.songs))


def _mixture(config: StreamingConfig, requests: Requests, language: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sources of every request, int64 [R, T + 2], and their shares, float64 [T + 2]."""
    catalogue = np.full(len(requests.mood), config.genres)
    genres = np.column_stack([requests.mood, catalogue, requests.taste])
    taste = np.array(config.taste_shares) / np.cumsum(config.taste_shares)[-1]
    shares = np.concatenate([[config.focus, config.explore], (1.0 - config.focus - config.explore) * taste])
    return genres * config.languages + language[requests.user, None], shares


def _batches(config: StreamingConfig, songs: Songs, requests: Requests, sources: np.ndarray,
             mixture_sources: np.ndarray, mixture_shares: np.ndarray) -> np.ndarray:
    """The songs of every request in random order, int64 [R, largest batch], -1 beyond its size.

    Independent draws from the intent, all drawn again until they are distinct and out: that is exactly the set
    distribution proportional to the product of the intents.
    """
    draws = Draws(config.seed, 5)
    bounds = (np.cumsum(sources, axis=1) + np.arange(len(sources))[:, None] * TOTAL).ravel()  # one table of all rows
    place = np.arange(max(config.batch_sizes))
    batches = np.empty((len(requests.user), len(place)), dtype=np.int64)
    pending = np.arange(len(batches))
    for _ in range(MOST_REDRAWS):
        component = draws.choice(mixture_shares, len(pending), len(place))
        source = np.take_along_axis(mixture_sources[pending], component, 1)
        drawn = np.searchsorted(bounds, source * TOTAL + draws.below(TOTAL, *source.shape), side="right")
        absent = place >= requests.size[pending, None]
        drawn = np.where(absent, -1 - place, drawn % config.songs)  # absent places: distinct, never a song
        out = absent | (songs.released[drawn] <= requests.time[pending, None])
        ascending = np.sort(drawn, axis=1)
        accepted = out.all(axis=1) & (np.diff(ascending, axis=1) != 0).all(axis=1)
        batches[pending] = np.where(absent, -1, drawn)
        pending = pending[~accepted]
        if not len(pending):
            return batches
    raise UsageError(f"no {max(config.batch_sizes)} distinct songs could be drawn for {len(pending)} requests: "
                     "raise songs, foreign or explore, or lower genres or batch_sizes")


def _likes(config: StreamingConfig, songs: Songs, taste: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Whether each play was liked, bool [M]: in proportion to the share of the taste that the song's genres cover."""
    shares = np.array(config.taste_shares) / np.cumsum(config.taste_shares)[-1]
    covered = (songs.member[items[:, None], taste] * shares).sum(axis=1)
    return Draws(config.seed, 7).uniform(len(items)) < config.like_rate * covered
