"""The oracle against brute force, and against its own luck on sampled data."""

from itertools import combinations, permutations

import numpy as np
import pytest

from cpbench.data.protocol import Events, Protocol, split
from cpbench.data.streaming import Truth, generate, load_or_generate
from cpbench.data.streaming.oracle import CUTOFFS, ceiling, next_song, posteriors
from cpbench.errors import UsageError
from cpbench.evaluation import metrics
from tests.data.streaming.tiny import TINY


def brute_force(intent, key, prefix, size, hidden, order_artefact):
    """Enumerate every set and every order of it."""
    joint = np.zeros(len(intent))
    for songs in combinations(range(len(intent)), size):
        weight = np.prod(intent[list(songs)])
        in_key_order = tuple(sorted(songs, key=lambda song: key[song]))
        orders = list(permutations(songs))
        for order in orders:
            if order[:len(prefix)] == tuple(prefix):
                chance = (1 - order_artefact) / len(orders) + order_artefact * (order == in_key_order)
                joint[order[len(prefix) + hidden]] += weight * chance
    return joint / joint.sum()


@pytest.mark.parametrize("order_artefact", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_next_song_is_exact(size, order_artefact):
    generator = np.random.default_rng(size)
    intent, key = generator.random(7) ** 3, generator.permutation(7)
    intent[2] = 0.0  # a song that is not out yet
    usual = [song for song in np.argsort(key) if song != 2]
    for visible in range(size):
        for hidden in range(size - visible):
            for prefix in (usual[:visible], usual[1:1 + visible], usual[:visible][::-1]):
                if order_artefact == 1.0 and prefix != sorted(prefix, key=lambda song: key[song]):
                    continue  # cannot happen
                got = next_song(intent[None], key, np.array([prefix], dtype=np.int64), size, hidden, order_artefact)
                expected = brute_force(intent, key, prefix, size, hidden, order_artefact)
                np.testing.assert_allclose(got[0], expected, atol=1e-12)


PROTOCOLS = [
    Protocol(exclude_seen=False),
    Protocol(exclude_seen=False, serving_lag=300),
    Protocol(exclude_seen=False, serving_lag=900),
    Protocol(exclude_seen=True),
    Protocol(exclude_seen=False, split="temporal", targets_per_user=20),
    Protocol(exclude_seen=False, split="temporal", targets_per_user=20, serving_lag=600),
]


def ranks_of_the_oracle(truth, made, events) -> np.ndarray:
    items, ranks = made.dataset.items[events.target], np.empty(len(events))
    for block, probability in posteriors(truth, made, events):
        answer = probability[np.arange(len(block)), items[block]][:, None]
        ranks[block] = np.where(answer[:, 0] > 0, 1 + (probability > answer).sum(axis=1), np.inf)
    return ranks


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: f"{p.split}-{p.serving_lag}-{p.exclude_seen}")
def test_the_ceiling_is_what_the_oracle_scores(tmp_path, protocol):
    """Monte Carlo: many more events than a protocol has, by taking every interaction as one."""
    config = TINY.model_copy(update={"users": 1500})
    dataset = load_or_generate(tmp_path / "streaming", config)
    made = split(dataset, protocol)
    expected = ceiling(tmp_path / "streaming", made)
    scored = metrics.accuracy(ranks_of_the_oracle(Truth.load(tmp_path / "streaming"), made, made.test))
    for k in (1, 5, 10, 20):
        spread = np.sqrt(expected[f"HR@{k}"] * (1 - expected[f"HR@{k}"]) / len(made.test))
        assert abs(scored[f"HR@{k}"] - expected[f"HR@{k}"]) < 3.5 * spread
        assert abs(scored[f"NDCG@{k}"] - expected[f"NDCG@{k}"]) < 3.5 * spread
    assert scored["MRR"] == pytest.approx(expected["MRR"], abs=0.04)


def test_every_interaction_of_a_log_is_calibrated():
    """Over all places in all batches: probabilities are those of what happened, in every decile."""
    dataset, truth = generate(TINY)
    made = split(dataset, Protocol(exclude_seen=False))
    target = np.arange(dataset.n_interactions)
    start = dataset.offsets[dataset.user_of_interaction()]
    events = Events(dataset.user_of_interaction(), start, target, target)
    claimed, happened = [], []
    for block, probability in posteriors(truth, made, events):
        np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-9)
        claimed.append(probability.ravel())
        happened.append((np.arange(dataset.n_items) == dataset.items[target[block], None]).ravel())
    claimed, happened = np.concatenate(claimed), np.concatenate(happened)
    for group in np.array_split(np.argsort(claimed), 10)[4:]:
        expected = claimed[group].sum()
        assert abs(happened[group].sum() - expected) < 4 * np.sqrt(expected) + 1


def test_the_ceiling_falls_with_the_lag_and_with_seen_songs_removed(tmp_path):
    dataset = load_or_generate(tmp_path / "streaming", TINY)

    def hit_rate(**protocol):
        return ceiling(tmp_path / "streaming", split(dataset, Protocol(**protocol)))["HR@10"]

    usual = hit_rate(exclude_seen=False)
    assert usual > hit_rate(exclude_seen=False, serving_lag=900)
    assert usual > hit_rate(exclude_seen=True)


def test_all_songs_hold_all_probability(tmp_path):
    config = TINY.model_copy(update={"songs": 200})
    found = ceiling(tmp_path / "a", split(load_or_generate(tmp_path / "a", config), Protocol(exclude_seen=False)))
    assert found["HR@200"] == pytest.approx(1.0)
    assert list(found) == [key for k in CUTOFFS for key in (f"HR@{k}", f"NDCG@{k}")] + ["MRR"]
    assert CUTOFFS == metrics.CUTOFFS


def test_a_split_of_other_data_is_refused(tmp_path):
    load_or_generate(tmp_path / "streaming", TINY)
    other, _ = generate(TINY.model_copy(update={"seed": 9}))
    with pytest.raises(UsageError, match="the split is of dataset"):
        ceiling(tmp_path / "streaming", split(other, Protocol(exclude_seen=False)))


def test_a_damaged_truth_is_one_clear_sentence(tmp_path):
    dataset = load_or_generate(tmp_path / "streaming", TINY)
    (tmp_path / "streaming" / "truth.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(UsageError, match="delete the folder and run again"):
        ceiling(tmp_path / "streaming", split(dataset, Protocol(exclude_seen=False)))
