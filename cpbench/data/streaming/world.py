"""How simulated users respond to the songs they are shown, one knob an assumption (docs/simulate.md)."""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cpbench.data.streaming.draws import TOTAL
from cpbench.data.streaming.service import Service
from cpbench.data.streaming.simulator import DAY
from cpbench.data.streaming.traffic import Traffic

Share = Annotated[float, Field(ge=0, le=1)]


class WorldConfig(BaseModel):
    """The closed loop's assumptions beside those of StreamingConfig. Frozen; an unknown key is an error; seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # what the users do
    busier: float = Field(1.0, gt=0, le=1000)
    """How many times as often as in the log the users come."""
    finish_least: Share = 0.2
    """Probability that a song nobody would want is heard to its end,"""
    finish_most: Share = 0.95
    """and that the most wanted song is; between them it rises with (intent / largest intent) to the power of"""
    finish_power: float = Field(0.5, gt=0)
    """this: below 1, songs that are not quite the most wanted are hardly worse."""
    skip_part: Share = 0.5
    """A song that is skipped was heard for a uniform share of its length, up to this."""
    leave: Share = 0.15
    """Probability that a skip ends the session."""
    mood_weight: Share = 0.5
    """A song is liked with probability like_rate times (this if it carries the mood's genre, and the rest of 1 times
    the share of the taste that its genres cover)."""
    like_skipped: Share = 0.0
    """What a skip leaves of the probability of a like."""

    # what the service does
    serving_lag: int = Field(900, ge=0)
    """The policy sees what happened before the request's time less this."""
    repeat_after: int = Field(7 * DAY, ge=0)
    """A song that the user was shown or played less than this before is not shown again."""
    log_skips: bool = True
    """Whether songs that were skipped enter the history."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.finish_least > self.finish_most:
            raise ValueError(f"finish_least = {self.finish_least:g} is more than finish_most = {self.finish_most:g}")
        return self


@dataclass(frozen=True)
class Response:
    """What the users of b requests did. A song that was not begun has False and 0 in all arrays [b, P]."""

    begun: np.ndarray
    """bool [b, P]"""
    finished: np.ndarray
    """bool [b, P]"""
    liked: np.ndarray
    """bool [b, P]"""
    seconds: np.ndarray
    """int64 [b, P]: how long each song was heard."""
    time: np.ndarray
    """int64 [b, P]: when it began."""
    left: np.ndarray
    """bool [b]: a skip ended the session."""


def respond(service: Service, traffic: Traffic, config: WorldConfig, requests: np.ndarray, shown: np.ndarray
            ) -> Response:
    """The users' response to `shown` int64 [b, P] (-1 beyond a request's size) at `requests` int64 [b]."""
    finishes = traffic.finish[requests] < finish_probability(service, traffic, config, requests, shown)
    likes = like_probability(service, traffic, config, requests, shown)
    likes = np.where(finishes, likes, likes * config.like_skipped)
    leaves = ~finishes & (traffic.leave[requests] < config.leave)
    length = service.config.song_seconds
    skipped = np.maximum((traffic.part[requests] * config.skip_part * length).astype(np.int64), 1)

    place = np.arange(shown.shape[1])
    stays = np.cumsum(leaves, axis=1) - leaves == 0  # no skip at an earlier place ended it
    begun = stays & (place < traffic.planned[requests, None]) & (shown >= 0)
    seconds = np.where(begun, np.where(finishes, length, skipped), 0)
    start = traffic.time[requests, None] + np.cumsum(seconds, axis=1) - seconds
    return Response(
        begun=begun,
        finished=begun & finishes,
        liked=begun & (traffic.like[requests] < likes),
        seconds=seconds,
        time=np.where(begun, start, 0),
        left=(begun & leaves).any(axis=1),
    )


def finish_probability(service: Service, traffic: Traffic, config: WorldConfig, requests: np.ndarray,
                       shown: np.ndarray) -> np.ndarray:
    """How likely each shown song is heard to its end, float64 [b, P]: it rises with the true intent."""
    intent = np.zeros(shown.shape)
    for source, share in zip(traffic.sources[requests].T, service.truth.mixture_shares, strict=True):
        intent += (share / TOTAL) * service.truth.sources[source[:, None], shown]
    relative = np.minimum(intent / traffic.best[requests, None], 1.0)  # 1 but for the last bit
    return config.finish_least + (config.finish_most - config.finish_least) * relative ** config.finish_power


def like_probability(service: Service, traffic: Traffic, config: WorldConfig, requests: np.ndarray,
                     shown: np.ndarray) -> np.ndarray:
    """How likely each shown song is liked if it is heard, float64 [b, P]: by its genres alone."""
    covered = (service.member[shown[:, :, None], traffic.taste[requests][:, None]] * service.taste_shares).sum(axis=2)
    in_mood = service.member[shown, traffic.mood[requests][:, None]]
    return service.config.like_rate * (config.mood_weight * in_mood + (1.0 - config.mood_weight) * covered)
