"""What the generator knows and no model may see: the intent behind every request, and the platform's order."""

import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cpbench.data.streaming.draws import TOTAL
from cpbench.errors import UsageError

FILE = "truth.npz"


@dataclass(frozen=True)
class Truth:
    """The truth of a generated dataset: N songs, M interactions, R requests, T genres in a taste.

    A *source* is one distribution over songs: a genre (or the whole catalogue, the last one) heard by a user of one
    language. The intent of a request is a mixture of sources; P(a set of `size` songs) is proportional to the
    product of their intents (conditional Poisson sampling), restricted to songs that are out.
    """

    sources: np.ndarray
    """int32 [S, N]: row s is 2^30 times the probabilities of source s."""
    mixture_sources: np.ndarray
    """int16 [R, T + 2]: the sources of a request: mood, whole catalogue, tastes."""
    mixture_shares: np.ndarray
    """float64 [T + 2]: their shares, the same for every request."""
    size: np.ndarray
    """int8 [R]: how many songs the request exposed (the user may have stopped before the last)."""
    time: np.ndarray
    """int64 [R]: when."""
    sorted: np.ndarray
    """bool [R]: whether its batch was logged in the platform's order. The oracle does not use this."""
    request: np.ndarray
    """int32 [M]: the request behind every interaction."""
    place: np.ndarray
    """int8 [M]: its place in the batch, from 0."""
    key: np.ndarray
    """int32 [N]: the song's place in the platform's order."""
    released: np.ndarray
    """int64 [N]: a song is never exposed before this time."""
    order_artefact: float
    """Probability that a batch is logged in the platform's order."""

    def intent(self, requests: np.ndarray) -> np.ndarray:
        """The intent of each request, float64 [len(requests), N]: zero for songs not yet out, sums to at most 1."""
        intent = np.zeros((len(requests), self.sources.shape[1]))
        for source, share in zip(self.mixture_sources[requests].T, self.mixture_shares, strict=True):
            intent += (share / TOTAL) * self.sources[source]
        intent[self.released > self.time[requests, None]] = 0.0
        return intent

    def write(self, folder: Path) -> None:
        """Write ``truth.npz`` into an existing folder (arrays only, no pickle)."""
        np.savez(folder / FILE, allow_pickle=False, **asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Truth":
        """Read what `write` wrote. Raises UsageError when the folder holds no readable truth."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UsageError(f"the truth of the simulated data cannot be read from {folder / FILE} ({error}); "
                             "delete the folder and run again") from error
        return cls(**{**found, "order_artefact": float(found["order_artefact"])})
