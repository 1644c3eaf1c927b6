from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binomtest

from cpbench.report.statistics import (
    RESAMPLES,
    Sample,
    compare,
    comparisons,
    holm,
    intervals,
    p_values,
    per_user,
)


def draw(seed: int, mean: float, n_seeds: int, n_users: int, between_seeds: float, taste: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (mean + taste + between_seeds * generator.normal(size=(n_seeds, 1))
            + 0.5 * generator.normal(size=(n_seeds, n_users)))


def test_single_runs_are_compared_by_the_paired_t_test():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(1, 50)), generator.normal(size=(1, 50))
    found, expected = compare(Sample(one), Sample(other)), stats.ttest_rel(one[0], other[0])
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.effect == pytest.approx((one - other).mean() / (one - other).std(ddof=1))
    assert not found.covers_seeds
    assert compare(Sample(one, True), Sample(other, True)).covers_seeds


def test_the_bound_is_where_two_one_sided_tests_reach_five_percent():
    generator = np.random.default_rng(1)
    one, other = generator.normal(size=(1, 80)), generator.normal(size=(1, 80))
    found, change = compare(Sample(one), Sample(other)), (one - other)[0]
    inside = max(stats.ttest_1samp(change, -found.bound, alternative="greater").pvalue,
                 stats.ttest_1samp(change, found.bound, alternative="less").pvalue)
    assert inside == pytest.approx(0.05)


@pytest.mark.parametrize(("n_seeds", "rival"), [(2, 2), (3, 3), (5, 5), (3, 0)])
def test_under_the_null_one_in_twenty_is_called_a_difference(n_seeds, rival):
    # seeds matter as much as users: a test over users alone would cry wolf most of the time; 0: a model without seeds
    rejected = alone = 0
    for trial in range(400):
        taste = np.random.default_rng(10_000 + trial).normal(size=100)
        one = draw(2 * trial, 0.0, n_seeds, 100, 0.1, taste)
        other = draw(2 * trial + 1, 0.0, rival or 1, 100, 0.1 * (rival > 0), taste)
        rejected += compare(Sample(one), Sample(other, deterministic=not rival)).p_value < 0.05
        alone += stats.ttest_rel(one.mean(0), other.mean(0)).pvalue < 0.05
    assert rejected / 400 < 0.09
    assert alone / 400 > 0.15


def test_the_bootstrap_covers_the_mean():
    covered = 0
    for trial in range(200):
        taste = np.random.default_rng(20_000 + trial).normal(size=120)
        (low, high), = intervals([Sample(draw(trial, 0.3, 5, 120, 0.1, taste))], seed=trial)
        covered += low <= 0.3 <= high
    assert 0.86 <= covered / 200 <= 0.99


def test_the_bootstrap_of_one_run_is_that_of_its_users():
    values = (np.random.default_rng(3).random((1, 2000)) < 0.1).astype(float)
    (low, high), = intervals([Sample(values)])
    reach = 1.96 * values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.1 * reach)


def test_one_seed_gives_the_same_interval_and_the_company_changes_nothing_but_chance():
    values = np.random.default_rng(4).random((3, 500))
    alone = intervals([Sample(values)])
    assert alone == intervals([Sample(values)])
    assert intervals([Sample(values), Sample(values[:2])])[0] == pytest.approx(alone[0], abs=0.01)


def test_the_bootstrap_draws_users_and_seeds_as_written_here():
    generator = np.random.default_rng(8)
    hits = (generator.random((3, 60)) < 0.2).astype(float)
    for values in (hits, hits * generator.random((3, 60))):
        generator = np.random.default_rng(0)
        users = [generator.integers(60, size=60) for _ in range(RESAMPLES)]
        seeds = generator.integers(3, size=(RESAMPLES, 2))
        means = [values[own][:, drawn].mean() for own, drawn in zip(seeds, users, strict=True)]
        for _ in range(2):  # the second time with the users drawn before
            assert intervals([Sample(values)])[0] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-12)


def test_what_is_the_same_does_not_differ():
    values = np.random.default_rng(5).random((2, 30))
    found = compare(Sample(values), Sample(values))
    assert found.mean == 0 and found.p_value == pytest.approx(1.0)
    same = compare(Sample(np.ones((1, 5)), True), Sample(np.ones((1, 5)), True))
    assert (same.mean, same.interval, same.p_value, same.bound) == (0.0, (0.0, 0.0), 1.0, 0.0)


def test_where_all_users_agree_there_is_the_sign_test_and_no_effect_size():
    found = compare(Sample(np.ones((1, 8))), Sample(np.zeros((1, 8))))
    assert (found.p_value, found.effect) == (binomtest(8, 8).pvalue, None)


def test_a_user_with_several_events_is_one_observation():
    users = np.array([7, 7, 7, 3, 5])
    values = np.array([[1.0, 1.0, 1.0, 0.0, 0.0]])
    found = per_user(values, users)
    assert found.shape == (1, 3) and found.mean() == pytest.approx(values.mean())
    assert found.std() > values.std() * np.sqrt(3 / 5)  # three events of one user say less than three users
    assert per_user(values, np.arange(5)) is values


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_never_lowers(values):
    adjusted = holm(values)
    order = np.argsort(values, kind="stable")
    assert all(0 <= a <= 1 and a >= p for a, p in zip(adjusted, values, strict=True))
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def all_pairs(n: int) -> np.ndarray:
    return np.array(list(combinations(range(n), 2)))


def test_the_best_of_ten_equal_models_is_rarely_told_from_another():
    alone = pairs = 0
    for trial in range(200):
        generator = np.random.default_rng(30_000 + trial)
        taste = generator.normal(size=100)
        samples = [Sample(taste + generator.normal(size=(1, 100))) for _ in range(10)]
        samples.sort(key=lambda each: -each.mean)
        every = all_pairs(10)
        alone += min(holm(p_values(samples, every[:9]))) < 0.05  # those with the first
        pairs += min(holm(p_values(samples, every))) < 0.05
    assert pairs / 200 < 0.09 < alone / 200


def by_hand(one: Sample, other: Sample) -> tuple[float, float]:
    """The mean difference and its p-value, from the differences themselves, user by user."""
    change = one.values.mean(axis=0) - other.values.mean(axis=0)
    parts = [(change.var(ddof=1) / len(change),) * 2 + (len(change) - 1,)]
    parts += [(*each.seed_variance, len(each.values) - 1) for each in (one, other) if len(each.values) > 1]
    variance = sum(part for part, _, _ in parts)
    if not variance:
        return change.mean(), 1.0 if change.mean() == 0 else 2.0 ** (1 - len(change))
    freedom = variance**2 / sum(square**2 / degrees for part, square, degrees in parts if part)
    return change.mean(), 2 * stats.t.sf(abs(change.mean()) / variance**0.5, freedom)


def test_many_pairs_at_once_are_those_by_hand():
    generator = np.random.default_rng(6)
    samples = [Sample(generator.normal(size=(n_seeds, 40))) for n_seeds in (1, 2, 3)] + [Sample(np.ones((1, 40)))] * 2
    hits = (generator.random((3, 40)) < 0.1).astype(float)
    almost = hits.copy()
    almost[0, 0] = 1 - almost[0, 0]
    samples += [Sample(hits), Sample(almost), Sample(hits.copy()), Sample(hits[:1]), Sample(np.zeros((2, 40)))]
    pairs = all_pairs(len(samples))
    means, expected = zip(*(by_hand(samples[one], samples[other]) for one, other in pairs), strict=True)
    assert p_values(samples, pairs) == pytest.approx(expected)
    assert p_values(samples, pairs).tolist() == [each.p_value for each in comparisons(samples, pairs)]
    assert [each.mean for each in comparisons(samples, pairs)] == pytest.approx(means)
    assert len(p_values(samples, pairs[:0])) == len(comparisons(samples, pairs[:0])) == 0


def test_degrees_of_freedom_are_those_of_the_mean_squares():
    # a one in two hundred of three seeds: what is left of the seeds' mean square seems surer than the square was
    rejected = 0
    for trial in range(4000):
        one, other = (draw(2 * trial + which, 0.0, 3, 40, 0.15, np.zeros(40)) for which in (50_000, 50_001))
        rejected += compare(Sample(one), Sample(other)).p_value < 0.005
    assert rejected / 4000 < 0.011
