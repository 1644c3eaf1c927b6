"""Lists of a stand-in model whose scores are known: item i scores N - i, and under condition v its carriers lead."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Protocol, split
from cpbench.errors import UsageError
from cpbench.experiments.original_ids import nearest, positions, read_users
from cpbench.experiments.recommend import Case, recommend
from cpbench.experiments.stored import StoredRun
from cpbench.models.base import Histories, Recommender
from tests.experiments.tiny import tiny

N = 30


class Descending:
    """Knows no conditions."""

    search = Recommender.search

    def __init__(self) -> None:
        self.asked: list[Histories] = []

    def score(self, histories: Histories) -> torch.Tensor:
        self.asked.append(histories)
        return torch.arange(N, 0, -1).float().expand(len(histories), -1)


class Taught(Descending):
    """Obeys genre g0, g1 or g2 by adding 1.5: carriers overtake their neighbours, not everybody."""

    def score_given(self, histories: Histories, values: torch.Tensor, times: torch.Tensor | None = None
                    ) -> torch.Tensor:
        return self.score(histories) + 1.5 * (torch.arange(N)[None, :] % 3 == values[:, None])


def lonely() -> Dataset:
    """The tiny dataset and one more user, with a single interaction: he trains, and has no test event."""
    data = tiny()
    last = data.times[-1] + 3600
    return replace(data, items=np.append(data.items, np.int32(7)), times=np.append(data.times, last),
                   offsets=np.append(data.offsets, data.offsets[-1] + 1),
                   user_ids=pl.Series("id", [*data.user_ids.to_list(), "lonely"]))


def stored(model: Descending, obeys: str = "", **protocol: Any) -> StoredRun:
    made = Protocol(**protocol)
    record: Any = SimpleNamespace(protocol=made, obeys=obeys)
    run: Any = StoredRun(Path("run"), record, model, split(lonely(), made))  # type: ignore[arg-type]
    return run


def ids(case: Case, place: int = 0) -> list[str]:
    return [item.id for item in case.lists[place].items]


def test_a_user_is_shown_what_the_protocol_makes_visible_and_seen_items_leave():
    model = Descending()
    data = lonely()
    (case,) = recommend(stored(model), ["u3"], k=N)
    visible = data.items[data.offsets[3]:data.offsets[4] - 1]  # all but the test target
    assert case.basis == "test event" and case.history_length == 11 and len(case.history) == 10
    assert [each.id for each in case.history] == [f"i{item}" for item in visible[-10:]]
    assert case.history[-1].time == "1970-01-14T11:46:40+00:00"
    assert model.asked[0].items.tolist() == visible.tolist()
    assert model.asked[0].request_times.tolist() == [data.times[data.offsets[4] - 1]]
    assert ids(case) == [f"i{item}" for item in range(N) if item not in set(visible)]  # shorter than k
    assert case.lists[0].asked == N and case.lists[0].items[0].values == {"genre": [f"g{int(ids(case)[0][1:]) % 3}"]}
    (kept,) = recommend(stored(Descending(), exclude_seen=False), ["u3"], k=4)
    assert ids(kept) == ["i0", "i1", "i2", "i3"] and kept.lists[0].items[0].score == N


def test_the_serving_lag_hides_and_a_user_without_a_test_event_shows_all():
    hidden, lone = recommend(stored(Descending(), serving_lag=7200), ["u0", "lonely"])
    assert hidden.history_length == 9  # of 11, those of the last two hours before the target are hidden
    assert (lone.basis, lone.history_length, lone.history[0].id) == ("last interaction", 1, "i7")
    nothing, = recommend(stored(Descending(), serving_lag=10**6), ["u0"])
    assert nothing.history == [] and len(nothing.lists[0].items) == 10


@pytest.mark.parametrize("protocol", [{}, {"split": "temporal", "targets_per_user": 3}])
def test_many_users_get_what_each_gets_alone(protocol, monkeypatch):
    monkeypatch.setattr("cpbench.evaluation.evaluate.BLOCK_BYTES", 4 * N * 3)  # three at a time
    names = ["u39", "lonely", "u0", "u7", "u39", "u2"]
    together = recommend(stored(Descending(), **protocol), names, conditions=["popularity=tail"])
    assert [case.user for case in together] == ["u39", "lonely", "u0", "u7", "u2"]
    assert together == [recommend(stored(Descending(), **protocol), [case.user], conditions=["popularity=tail"])[0]
                        for case in together]


def test_a_model_without_the_stage_is_filtered_and_shared_items_are_counted():
    run = stored(Descending(), exclude_seen=False)
    (case,) = recommend(run, ["u0"], conditions=["genre=G1", "genre=g1", "freshness=older"], k=5)
    plain, genre, fresh = case.lists
    assert (plain.condition, plain.how, plain.matching) == (None, "none", None)
    assert (genre.condition, genre.how, genre.matching) == ("genre=g1", "filtered", 5)
    assert ids(case, 1) == ["i1", "i4", "i7", "i10", "i13"] and genre.items[0].score == N - 1
    assert fresh.items == [] and fresh.asked == 5  # nothing is older than a year: an empty list, no error
    assert case.shared == 2
    assert {item.id: item.lists for item in plain.items} == {"i0": 1, "i1": 2, "i2": 1, "i3": 1, "i4": 2}
    assert set(plain.items[0].values) == {"genre", "freshness"}


def test_a_taught_model_obeys_its_own_attribute_itself_and_others_by_filter():
    run = stored(Taught(), "model", condition="genre", exclude_seen=False)
    (case,) = recommend(run, ["u0"], conditions=["genre=g2", "popularity=head"], k=5)
    assert [each.how for each in case.lists] == ["none", "model", "filtered"]
    assert ids(case, 1) == ["i0", "i2", "i1", "i3", "i5"] and case.lists[1].matching == 2
    heads = stored(Taught(), "hard-filter", condition="genre", exclude_seen=False)  # this one was never fine-tuned
    assert recommend(heads, ["u0"], conditions=["genre=g2"])[0].lists[1].how == "filtered"


def test_a_history_that_is_typed_in_and_titles_that_are_missing():
    model = Descending()
    run = stored(model)
    table = run.split.dataset.item_table.with_columns(
        title=pl.when(pl.col("id") == "i0").then(None).when(pl.col("id") == "i1").then(pl.lit(" "))
        .otherwise(pl.col("title")))
    part = replace(run.split, dataset=replace(run.split.dataset, item_table=table))
    (case,) = recommend(replace(run, split=part), history=["i4", "i2", "i4"], k=3)
    assert (case.user, case.basis, case.history_length) == (None, "given history", 3)
    assert [each.id for each in case.history] == ["i4", "i2", "i4"] and case.history[0].time is None
    now = int(part.dataset.times.max())
    assert model.asked[0].times.tolist() == [now - 10800, now - 7200, now - 3600]
    assert model.asked[0].request_times.tolist() == [now]
    assert [(item.id, item.title) for item in case.lists[0].items] == [("i0", None), ("i1", None), ("i3", "Item 3")]


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"users": ["u39x"]}, "unknown user 'u39x'; did you mean 'u39' or "),
    ({"users": ["u1", "?", "!"]}, r"unknown user '\?' \(and 1 more that do not exist\); there are 41, such as 'u0' "),
    ({"history": ["i1", "item5"]}, "unknown item 'item5'; did you mean 'i5'"),
    ({"users": ["u1"], "k": 0}, r"k = 0 is outside 1\.\.30"),
    ({"users": ["u1"], "k": 31}, r"k = 31 is outside 1\.\.30"),
    ({"users": ["u1"], "conditions": ["gener=g1"]}, "unknown condition 'gener'; did you mean 'genre'"),
    ({"users": ["u1"], "conditions": ["genre=g7"]}, "unknown genre 'g7'; did you mean .* Known: g0, g1, g2"),
    ({"users": ["u1"], "conditions": ["genre"]}, "'genre' is not ATTRIBUTE=VALUE"),
    ({"users": ["u1"], "conditions": ["genre= "]}, "'genre= ' is not ATTRIBUTE=VALUE"),
    ({"users": ["u1"], "conditions": ["=g1"]}, "'=g1' is not ATTRIBUTE=VALUE"),
    ({}, "give either users or a history"),
])
def test_what_these_data_do_not_know_is_refused(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        recommend(stored(Descending()), **arguments)


def test_an_attribute_with_many_values_is_not_recited():
    run = stored(Descending())
    table = run.split.dataset.item_table.with_columns(
        brand=pl.Series([[f"Brand {item}", "Same" if item else "same"] for item in range(N)]))
    run = replace(run, split=replace(run.split, dataset=replace(run.split.dataset, item_table=table)))
    with pytest.raises(UsageError) as error:
        recommend(run, ["u1"], conditions=["brand=brand 77"])
    assert str(error.value) == "unknown brand 'brand 77'; did you mean 'Brand 7' or 'Brand 17' or 'Brand 27'?"
    one, both = (recommend(run, ["u1"], conditions=[f"brand={name}"])[0].lists[1] for name in ("same", "SAME"))
    assert one.condition == "brand=same" and len(one.items) <= 1  # as written
    assert both.condition == "brand=Same"


def test_among_millions_only_alike_ids_are_compared():
    many = pl.Series([f"A{number:07}" for number in range(300_000)])
    assert nearest("A0123456x", many)[0] == "A0123456"
    assert nearest("Q", many) == []
    assert positions("user", ["A0000003", "A0000001", "A0000003"], many) == [3, 1, 3]
    assert positions("user", ["7"], pl.Series([5, 7])) == [1]  # ids that are numbers


def test_users_from_a_file(tmp_path):
    lines, table = tmp_path / "users.txt", tmp_path / "users.csv"
    lines.write_text("﻿u1\n\n u2 \nu1\n", encoding="utf-8")
    assert read_users(lines) == ["u1", "u2"]
    table.write_text('age,user\n30,u5\n31,"u,6"\n32\n')
    assert read_users(table) == ["u5", "u,6"]
    for text, sentence in (("", "names no user"), ("user\n", "names no user"), ("usr\nu1\n", "unknown column 'user'")):
        table.write_text(text)
        with pytest.raises(UsageError, match=sentence):
            read_users(table)
    lines.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_users(lines)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_users(tmp_path / "absent")
