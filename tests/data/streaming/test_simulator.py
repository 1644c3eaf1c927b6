"""What the simulated log looks like, knob by knob."""

import numpy as np
import polars as pl
import pytest

from cpbench.data.streaming import StreamingConfig, generate
from cpbench.data.streaming.config import GENRES
from cpbench.data.streaming.simulator import DAY, START
from cpbench.errors import UsageError
from tests.data.streaming.tiny import TINY


def with_knobs(**knobs) -> StreamingConfig:
    return StreamingConfig(**{**TINY.model_dump(), **knobs})


def by_batch(dataset, truth) -> pl.DataFrame:
    """One row a request: its songs and their keys in the order of the log."""
    log = pl.DataFrame({"request": truth.request, "item": dataset.items, "key": truth.key[dataset.items]})
    return log.group_by("request", maintain_order=True).agg(
        "item", "key", ascending=(pl.col("key").diff().drop_nulls() > 0).all(), played=pl.len())


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data():
    first, again, other = generate(TINY)[0], generate(TINY)[0], generate(with_knobs(seed=1))[0]
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.signals.equals(again.signals)


def test_the_fingerprint_of_the_default_data_is_pinned():
    """It must be the same on every machine and with every numpy; raise store.VERSION when it changes on purpose."""
    dataset, _ = generate(StreamingConfig())
    assert dataset.fingerprint == "efe88aded94fa9c0"


def test_times_rise_within_a_user_and_start_in_the_simulated_days():
    dataset, truth = generate(TINY)
    assert dataset.offsets[0] == 0
    assert dataset.offsets[-1] == dataset.n_interactions == len(truth.request) == len(truth.place)
    same_user = np.diff(dataset.user_of_interaction()) == 0
    assert (np.diff(dataset.times)[same_user] > 0).all()
    assert dataset.times.min() >= START
    assert (truth.time < START + TINY.days * DAY).mean() > 0.99  # a busy user's sessions push one another on


def test_batches_hold_distinct_songs_that_are_out_and_are_played_in_full_within_a_session():
    dataset, truth = generate(with_knobs(new_songs=0.5, days=2000))  # so many days that no two sessions adjoin
    assert (truth.released > START).any()
    assert (truth.released[dataset.items] <= truth.time[truth.request]).all()
    batches = by_batch(dataset, truth)
    assert batches["item"].list.n_unique().equals(batches["played"])
    played, size = batches["played"].to_numpy(), truth.size
    assert set(size) == {3, 4}
    assert (played <= size).all()
    gap = np.diff(truth.time, append=0)
    assert (played == size)[(gap > 0) & (gap < 1000)].all(), "the session goes on"
    assert (played < size).any(), "sessions end inside a batch"


def test_the_order_of_a_batch_is_the_platforms_as_often_as_the_knob_says():
    for probability in (0.0, 0.8, 1.0):
        dataset, truth = generate(with_knobs(order_artefact=probability, batch_sizes=(4,), users=400))
        whole = by_batch(dataset, truth).filter(pl.col("played") == 4)
        expected = probability + (1 - probability) / 24  # a random order is ascending once in 4!
        assert whole["ascending"].mean() == pytest.approx(expected, abs=0.02)


def test_the_order_carries_no_intent_in_random_order():
    """The first song of a batch is as popular as the last."""
    dataset, truth = generate(with_knobs(order_artefact=0.0, batch_sizes=(4,), users=800))
    whole = by_batch(dataset, truth).filter(pl.col("played") == 4)
    popularity = np.bincount(dataset.items, minlength=dataset.n_items)
    first, last = (popularity[whole["item"].list.get(place).to_numpy()].mean() for place in (0, -1))
    assert first == pytest.approx(last, rel=0.05)


def test_batches_can_be_turned_off():
    dataset, truth = generate(with_knobs(batch_sizes=(1,)))
    assert (truth.place == 0).all()
    assert len(truth.size) == dataset.n_interactions


def test_taste_drifts_as_often_as_the_knob_says():
    for drift in (0.0, 1.0):
        dataset, truth = generate(with_knobs(drift=drift, languages=1, days=2000))
        user = dataset.user_of_interaction()[np.unique(truth.request, return_index=True)[1]]
        taste = truth.mixture_sources[:, 2:]
        new_session = (np.diff(truth.time) > 1000) & (np.diff(user) == 0)
        changed = (np.diff(taste, axis=0) != 0).sum(axis=1)
        assert (changed[new_session] == drift).all()
        assert (changed[~new_session & (np.diff(user) == 0)] == 0).all()


def test_a_request_is_dominated_by_its_mood():
    """The share of plays that carry the mood's genre is at least `focus`."""
    dataset, truth = generate(with_knobs(focus=0.9, explore=0.0, languages=1))
    member = dataset.attribute("genre").matrix()
    column = {GENRES.index(name): position for position, name in enumerate(dataset.attribute("genre").names)}
    mood = np.array([column[genre] for genre in truth.mixture_sources[truth.request, 0]])
    assert member[dataset.items, mood].mean() > 0.9


def test_likes_follow_the_taste():
    dataset, truth = generate(with_knobs(like_rate=1.0, explore=0.5, focus=0.1, languages=1, users=400))
    genres = [{GENRES.index(name) for name in names} for names in dataset.item_table["genre"].to_list()]
    favourite = truth.mixture_sources[truth.request, 2]
    carries = np.array([genre in genres[item] for genre, item in zip(favourite, dataset.items, strict=True)])
    like = dataset.signals["like"].to_numpy()
    assert like[carries].mean() > 0.6 > 0.2 > like[~carries].mean()


def test_an_intent_too_narrow_for_a_batch_is_one_clear_sentence(monkeypatch):
    monkeypatch.setattr("cpbench.data.streaming.simulator.MOST_REDRAWS", 50)
    narrow = StreamingConfig(songs=26, genres=13, languages=1, second_genre=0, focus=1, explore=0, users=5)
    with pytest.raises(UsageError, match=r"no 4 distinct songs could be drawn .* raise songs"):
        generate(narrow)
