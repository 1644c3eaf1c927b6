"""The simulator's randomness: exact shares, the same numbers everywhere."""

import numpy as np
import pytest

from cpbench.data.streaming.draws import TOTAL, Draws, integer_shares


def test_the_stream_is_that_of_the_bit_generator_and_never_changes():
    assert Draws(2026, 1).raw(3).tolist() == [9043217119393909725, 16649178503860882565, 13438979487300311401]
    assert Draws(2026, 1).below(1000, 3).tolist() == [490, 902, 728]
    assert Draws(2026, 2).raw(1)[0] != Draws(2026, 1).raw(1)[0], "each purpose has a stream of its own"


def test_integer_shares_sum_exactly_and_keep_zero_at_zero():
    weights = np.array([[1.0, 2.0, 0.0, 4.0], [1e-12, 1.0, 1.0, 1.0]])
    shares = integer_shares(weights)
    assert shares.sum(axis=1).tolist() == [TOTAL, TOTAL]
    assert shares[0, 2] == 0
    np.testing.assert_allclose(shares / TOTAL, weights / weights.sum(axis=1, keepdims=True), atol=4 / TOTAL)


@pytest.mark.parametrize("mean", [1.0, 2.5, 14.0])
def test_geometric_has_its_mean_and_is_at_least_one(mean):
    values = Draws(5, 1).geometric(np.full(40_000, mean))
    assert values.min() == 1
    assert values.mean() == pytest.approx(mean, rel=0.03)


def test_choice_and_below_cover_their_range_evenly():
    draws = Draws(5, 2)
    shares = np.bincount(draws.choice(np.array([1.0, 2.0, 1.0]), 40_000), minlength=3) / 40_000
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert np.unique(draws.below(7, 2000)).tolist() == list(range(7))
    assert np.unique(draws.within(2, 2000)).tolist() == [-2, -1, 0, 1, 2]
    assert sorted(draws.permutation(50).tolist()) == list(range(50))
