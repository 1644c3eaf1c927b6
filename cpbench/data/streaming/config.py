"""Every assumption of the simulator, one knob each (docs/streaming.md says what each stands for)."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

GENRES = ("ambient", "blues", "chanson", "classical", "country", "dance", "disco", "drum and bass", "electronic",
          "folk", "funk", "gospel", "hip hop", "house", "indie", "jazz", "latin", "metal", "opera", "pop", "punk",
          "reggae", "rock", "soul", "soundtrack", "techno")
LANGUAGES = ("Mandarin", "English", "Cantonese", "Japanese", "Korean", "Spanish", "French", "German")

Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class StreamingConfig(BaseModel):
    """The simulated music service. Frozen; an unknown key is an error; times in seconds unless a field says otherwise.

    Shares given as a tuple are normalised to sum to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(2026, ge=0)

    # the catalogue
    songs: int = Field(600, ge=2)
    genres: int = Field(10, ge=1, le=len(GENRES))
    second_genre: Share = 0.3
    """Share of songs that carry two genres; the others carry one."""
    languages: int = Field(5, ge=1, le=len(LANGUAGES))
    """Language number l (from 1) is that of a share ~ 1/l of the songs and of the users."""
    popularity_exponent: float = Field(0.4, ge=0)
    """Zipf: the song of popularity rank r has weight r to the minus this."""
    new_songs: Share = 0.05
    """Share of songs released during the simulated days (at a random time; never played before it); the others
    were released in the ten years before."""

    # the users
    users: int = Field(1800, ge=1)
    days: int = Field(60, ge=1)
    """Simulated days; sessions start anywhere in them."""
    activity_shares: Shares = (0.5, 0.35, 0.15)
    """Shares of users at each level of activity, least active first."""
    activity_sessions: tuple[Annotated[float, Field(ge=1)], ...] = (3, 6, 14)
    """Mean number of sessions (geometric, at least 1) of a user at each level of activity."""
    requests_per_session: float = Field(3, ge=1)
    """Mean number of requests of a session (geometric, at least 1)."""

    # what a user wants
    taste_shares: Shares = (0.6, 0.3, 0.1)
    """A user's taste is a mixture of this many distinct genres with these shares."""
    drift: Share = 0.1
    """Probability, before each session but the first, that one genre of the taste is replaced by another."""
    focus: Share = 0.8
    """Share of a request's intent on the one genre that the user is in the mood for."""
    explore: Share = 0.05
    """Share of a request's intent on the whole catalogue; what focus and explore leave is the user's taste."""
    stay: Share = 0.7
    """Probability that a request keeps the mood of the request before it in the session; else it is drawn anew."""
    foreign: Share = 0.2
    """Weight of a song in another language than the user's, relative to one in it."""

    # what the service does
    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (3, 4)
    """How many songs a request exposes, each size equally likely. (1,) turns batches off."""
    order_artefact: Share = 0.8
    """Probability that a batch is logged in the order of the platform's key (a fixed random permutation of the songs),
    not in random order. 0 turns the artefact off."""
    request_interval: int = Field(900, ge=1)
    """Between two requests of a session."""
    request_jitter: int = Field(60, ge=0)
    """The interval is uniform in +- this."""
    song_seconds: int = Field(240, ge=1)
    """Between two songs of a batch."""
    song_jitter: int = Field(20, ge=0)
    """The time of a song is uniform in +- this. It never depends on the song: times tell nothing about songs."""
    like_rate: Share = 0.6
    """Probability that a song is liked whose genres make up the user's whole taste; in proportion below that."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if len(self.activity_sessions) != len(self.activity_shares):
            problems.append(f"activity_sessions has {len(self.activity_sessions)} levels, "
                            f"activity_shares {len(self.activity_shares)}")
        if len(self.taste_shares) > self.genres:
            problems.append(f"taste_shares names {len(self.taste_shares)} genres of {self.genres}")
        if self.genres > self.songs:
            problems.append(f"{self.genres} genres need as many songs, not {self.songs}")
        if self.focus + self.explore > 1:
            problems.append(f"focus + explore = {self.focus + self.explore:g} is more than 1")
        if 2 * max(self.batch_sizes) > self.songs:
            problems.append(f"a batch of {max(self.batch_sizes)} songs needs a catalogue of twice as many, "
                            f"not of {self.songs}")
        longest = (max(self.batch_sizes) - 1) * (self.song_seconds + self.song_jitter)
        if self.song_jitter >= self.song_seconds or longest >= self.request_interval - self.request_jitter:
            problems.append(f"a batch may last {longest} s, but the next request may come "
                            f"{self.request_interval - self.request_jitter} s after it began")
        if problems:
            raise ValueError("; ".join(problems))
        return self
