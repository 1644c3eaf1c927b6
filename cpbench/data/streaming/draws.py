"""Random draws that are the same on every machine and with every numpy: integers from PCG64, no library samplers.

numpy guarantees the stream of its bit generators, not that of its samplers; and a sum of floats may end differently
on another processor. So tables of probabilities are rounded to integers that sum to 2^30 and drawn from as such.
"""

import numpy as np

TOTAL_BITS = 30
TOTAL = 1 << TOTAL_BITS


class Draws:
    """A stream of its own for each `purpose`: adding a draw to one changes nothing in the others."""

    def __init__(self, seed: int, purpose: int) -> None:
        self.bits = np.random.PCG64(np.random.SeedSequence((seed, purpose)))

    def raw(self, *shape: int) -> np.ndarray:
        """uint64, all values equally likely."""
        return self.bits.random_raw(int(np.prod(shape))).reshape(shape)

    def uniform(self, *shape: int) -> np.ndarray:
        """Multiples of 2^-53 in [0, 1)."""
        return (self.raw(*shape) >> np.uint64(11)) * 2.0**-53

    def below(self, bound: int, *shape: int) -> np.ndarray:
        """int64 in 0 .. bound - 1, for bounds far below 2^32."""
        return (((self.raw(*shape) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)

    def within(self, spread: int, *shape: int) -> np.ndarray:
        """int64 in -spread .. spread."""
        return self.below(2 * spread + 1, *shape) - spread

    def permutation(self, size: int) -> np.ndarray:
        return np.argsort(self.raw(size), kind="stable")

    def choice(self, shares: np.ndarray, *shape: int) -> np.ndarray:
        """Positions in `shares` (positive, normalised here), int64."""
        bounds = np.cumsum(shares)
        return np.searchsorted(bounds[:-1] / bounds[-1], self.uniform(*shape), side="right")

    def geometric(self, mean: np.ndarray) -> np.ndarray:
        """At least 1, with these means (>= 1), int64; cut at 20 means."""
        result = np.empty(len(mean), dtype=np.int64)
        uniform = self.uniform(len(mean))
        for value in np.unique(mean):
            at = mean == value
            survival = np.cumprod(np.full(int(20 * value), 1.0 - 1.0 / value))
            result[at] = 1 + np.searchsorted(-survival[:-1], -uniform[at], side="left")
        return result


def integer_shares(weights: np.ndarray) -> np.ndarray:
    """Rows of weights (>= 0) as integers that sum to exactly 2^30; what rounding leaves goes to the largest. int64."""
    whole = np.cumsum(weights, axis=-1)[..., -1:]
    shares = np.floor(weights / whole * TOTAL).astype(np.int64)
    largest = shares.argmax(axis=-1)[..., None]
    rest = TOTAL - shares.sum(axis=-1, keepdims=True)
    np.put_along_axis(shares, largest, np.take_along_axis(shares, largest, -1) + rest, -1)
    return shares
