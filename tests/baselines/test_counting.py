"""The counting models against their formulas in plain Python, and what all of them promise beside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cpbench.baselines.ease import EASE
from cpbench.baselines.item_knn import ItemKNN
from cpbench.baselines.popularity import Popularity, RecentPopularity
from cpbench.baselines.seq_item_knn import SequentialItemKNN

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Protocol, Split, split
from cpbench.data.synthetic import START, from_sequences, random_dataset
from cpbench.errors import CpbenchError, UsageError
from cpbench.experiments.recipes import recipe_names, resolve
from cpbench.models.base import Facts, Histories, Recommender

COUNTING: list[type[Recommender]] = [Popularity, RecentPopularity, ItemKNN, SequentialItemKNN, EASE]
DAY = 86_400


def fitted(model_class: type[Recommender], data: Dataset | Split, **settings: float) -> Recommender:
    made = data if isinstance(data, Split) else split(data, Protocol())
    model = model_class(model_class.Config(**settings), Facts.of(made.dataset))
    model.fit(made, seed=0)
    return model


def training(made: Split) -> list[list[int]]:
    return [made.dataset.items[first:last].tolist()
            for first, last in zip(made.dataset.offsets, made.train_end, strict=False)]


def user_item(made: Split) -> np.ndarray:
    matrix = np.zeros((made.dataset.n_users, made.dataset.n_items))
    for user, items in enumerate(training(made)):
        matrix[user, items] = 1
    return matrix


@pytest.fixture
def made() -> Split:
    return split(random_dataset(), Protocol())


HISTORY = [3, 8, 3, 5]


def scores_of(model: Recommender, *histories: list[int]) -> np.ndarray:
    return model.score(Histories.of_lists(list(histories))).numpy()


def test_popularity_counts_every_training_interaction() -> None:
    #                       train      valid test
    data = from_sequences([[0, 1, 1,     2, 3], [1, 2,     0, 0]], 4)
    assert scores_of(fitted(Popularity, data), [0], []).tolist() == [[1, 3, 1, 0]] * 2


def test_recent_popularity_halves_with_age() -> None:
    times = [[START, START + 20 * DAY, START + 30 * DAY, START + 90 * DAY, START + 99 * DAY]]
    data = from_sequences([[0, 1, 2, 3, 1]], 4, times)
    found = scores_of(fitted(RecentPopularity, data, half_life_days=10), [])
    assert found[0] == pytest.approx([1 / 8, 1 / 2, 1, 0])  # the last training interaction is that of item 2
    assert fitted(RecentPopularity, data).information == ["times"]


def test_recent_popularity_knows_nothing_after_the_temporal_cut() -> None:
    data = random_dataset()
    made = split(data, Protocol(split="temporal"))
    later = np.where(made.train_mask(), data.times, data.times + 10**9)
    moved = Split(replace(data, times=later), made.protocol, made.train_end, made.valid, made.test)
    assert np.array_equal(scores_of(fitted(RecentPopularity, made), []), scores_of(fitted(RecentPopularity, moved), []))


@pytest.mark.parametrize("shrink", [0.0, 10.0])
def test_item_knn_is_the_shrunk_cosine(made: Split, shrink: float) -> None:
    matrix = user_item(made)
    common = matrix.T @ matrix
    users = common.diagonal()
    with np.errstate(invalid="ignore"):
        similar = np.nan_to_num(common / (np.sqrt(np.outer(users, users)) + shrink))
    np.fill_diagonal(similar, 0)
    expected = similar[3] + similar[5] + similar[8]  # a repetition counts once
    assert scores_of(fitted(ItemKNN, made, shrink=shrink), HISTORY)[0] == pytest.approx(expected)


def test_item_knn_keeps_the_nearest_neighbours_of_the_scored_item(made: Split) -> None:
    every, few = (fitted(ItemKNN, made, neighbours=k).weights.toarray() for k in (0, 4))  # [history, scored]
    kept = every >= np.sort(every, axis=0)[-4]  # equals of the fourth stay
    assert np.array_equal(few, np.where(kept, every, 0))
    assert 0 < np.count_nonzero(few) < np.count_nonzero(every)


def test_sequential_item_knn_counts_transitions(made: Split) -> None:
    n_items, window, decay = made.dataset.n_items, 3, 0.7
    weights = np.zeros((n_items, n_items))
    for items in training(made):
        for place, item in enumerate(items):
            for gap in range(1, window + 1):
                if place + gap < len(items) and items[place + gap] != item:
                    weights[item, items[place + gap]] += 1 / gap
    expected = weights[5] + decay * weights[3] + decay**2 * weights[8]  # of item 3 the newest counts
    found = scores_of(fitted(SequentialItemKNN, made, window=window, decay=decay), HISTORY)[0]
    assert found == pytest.approx(expected)


def test_sequential_item_knn_looks_neither_across_users_nor_beyond_training() -> None:
    #                       train    valid test
    data = from_sequences([[0, 1,      2, 3], [4, 5,      1, 0]], 6)
    model = fitted(SequentialItemKNN, data, window=100)
    assert scores_of(model, [0], [4]).tolist() == [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize("ridge", [0.5, 50.0])
def test_ease_is_the_constrained_ridge_regression(made: Split, ridge: float) -> None:
    """Column j of B minimises |x_j - X b|^2 + ridge |b|^2 under b_j = 0: solved here item by item."""
    matrix = user_item(made)
    n_items = matrix.shape[1]
    weights = np.zeros((n_items, n_items))
    for item in range(n_items):
        others = np.delete(np.arange(n_items), item)
        gram = matrix[:, others].T @ matrix[:, others] + ridge * np.eye(n_items - 1)
        weights[others, item] = np.linalg.solve(gram, matrix[:, others].T @ matrix[:, item])
    found = scores_of(fitted(EASE, made, ridge=ridge), HISTORY)[0]
    assert found == pytest.approx(weights[[3, 5, 8]].sum(0), abs=2e-4)


def test_ease_checkpoint_holds_the_sparse_matrix_and_solves_it_again(made: Split, tmp_path: Path) -> None:
    model = fitted(EASE, made)
    model.save(tmp_path / "ease")
    assert torch.equal(EASE.load(tmp_path / "ease").score(Histories.of_lists([HISTORY])),
                       model.score(Histories.of_lists([HISTORY])))
    assert set(model.tensors()) == {"popularity", "indptr", "indices", "values"}
    assert model.n_parameters == made.dataset.n_items**2


def test_ease_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(UsageError, match=r"items x items, and 60,000 items are more than its limit of 50,000; use "):
        fitted(EASE, from_sequences([[0, 1, 2, 3]], 60_000))


def test_ease_says_when_the_matrix_cannot_be_inverted() -> None:
    data = from_sequences([[0, 1, 2, 3]] * 4, 4)  # items 0 and 1 have the same users
    with pytest.raises(CpbenchError, match="raise ridge"):
        fitted(EASE, data, ridge=1e-12)


@pytest.mark.parametrize("model_class", COUNTING)
def test_a_score_depends_on_its_history_to_the_last_bit(model_class: type[Recommender], made: Split) -> None:
    random = np.random.default_rng(3)
    lists = [random.integers(0, 30, size=size).tolist() for size in (0, 1, 2, 9, 40, 5)]
    model = fitted(model_class, made)
    together = scores_of(model, *lists)
    assert np.array_equal(together, np.concatenate([scores_of(model, history) for history in lists]))
    assert np.array_equal(together[::-1], scores_of(model, *reversed(lists)))


@pytest.mark.parametrize("model_class", [ItemKNN, SequentialItemKNN, EASE])
def test_a_history_that_says_nothing_is_answered_by_popularity(model_class: type[Recommender], made: Split) -> None:
    popular = scores_of(fitted(Popularity, made), [])[0]
    for history in ([], [29], [28, 29]):  # nobody has the last three items
        assert np.array_equal(scores_of(fitted(model_class, made), history)[0], popular)


@pytest.mark.parametrize("model_class", COUNTING)
@pytest.mark.parametrize("dataset", ["amazon-beauty", "amazon-sports", "ml-1m", "somebody-elses"])
def test_every_model_ships_a_tuned_recipe_with_sources(model_class: type[Recommender], dataset: str) -> None:
    assert recipe_names(model_class) == ["tuned", "defaults"]
    resolved = resolve(model_class, "tuned", dataset, {})
    assert resolved.training is None
    assert all(source.startswith("recipe tuned") for source in resolved.sources.values())
