"""Real data: counts, sequences and times agree with what others publish (`make gates`)."""

import gzip
import json
import time
from functools import cache
from pathlib import Path

import pytest

from cpbench.data.card import cards
from cpbench.data.dataset import Dataset
from cpbench.data.describe import describe, granularity, lag_shares
from cpbench.data.prepare import prepare

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = [pytest.mark.gate,
              pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) are not here")]


@cache
def prepared(name: str) -> Dataset:
    """The dataset `name`, from the local mirror."""
    card = cards()[name]
    files = {file.role: DATA / "mirror" / file.mirror for file in card.files}
    missing = [file.mirror for file in card.files if not file.optional and not files[file.role].is_file()]
    if missing:
        pytest.skip(f"the mirror holds no {', '.join(missing)}")
    return prepare(card, {role: path for role, path in files.items() if path.is_file()})


@pytest.mark.parametrize(("name", "users", "items", "interactions"), [
    ("ml-100k", 943, 1_682, 100_000),
    ("ml-1m", 6_040, 3_416, 999_611),
    ("amazon-beauty", 22_363, 12_101, 198_502),
    ("amazon-sports", 35_598, 18_357, 296_337),
    ("amazon-toys", 19_412, 11_924, 167_597),
    ("amazon-musical-instruments", 1_429, 900, 10_261),
    ("lastfm", 1_090, 3_646, 52_551),
])
def test_counts(name: str, users: int, items: int, interactions: int) -> None:
    assert prepared(name).counts() == {"users": users, "items": items, "interactions": interactions}


def test_ml_1m_is_whole_before_the_filter() -> None:
    assert prepared("ml-1m").manifest["raw_counts"] == {"users": 6_040, "items": 3_706, "interactions": 1_000_209}


def ours(name: str) -> dict[str, list[str]]:
    """User -> items, by their original names."""
    dataset = prepared(name)
    names = dataset.item_table["id"].to_numpy()
    return {user: names[dataset.items[first:last]].tolist() for user, first, last in
            zip(dataset.user_ids, dataset.offsets[:-1], dataset.offsets[1:], strict=True)}


def reference(name: str) -> list[list[str]]:
    """S3-Rec's sequences: one user a line, the user's number first."""
    with gzip.open(DATA / "reference" / "s3rec" / f"{name}.txt.gz", "rt") as lines:
        return [line.split() for line in lines]


@pytest.mark.parametrize(("name", "other"), [("amazon-beauty", "Beauty"), ("amazon-sports", "Sports_and_Outdoors")])
def test_amazon_sequences_are_those_of_s3_rec(name: str, other: str) -> None:
    with gzip.open(DATA / "reference" / "s3rec" / f"{other}.id_maps.json.gz", "rt") as stream:
        maps = json.load(stream)
    theirs = {maps["user"][user]: [maps["item"][item] for item in items] for user, *items in reference(other)}
    assert ours(name) == theirs


def test_lastfm_sequences_are_those_of_s3_rec_but_for_the_incomplete_times() -> None:
    """There is no map of S3-Rec's ids: users come in our order, items are matched by who has them."""
    theirs = [items for _, *items in reference("LastFM")]
    mine = list(ours("lastfm").values())
    assert [len(items) for items in theirs] == [len(items) for items in mine]
    named = dict(zip(by_owners(theirs), by_owners(mine), strict=True))
    equal = sum([named[item] for item in their] == own for their, own in zip(theirs, mine, strict=True))
    print(f"\nlastfm: {equal:,} of {len(mine):,} users equal S3-Rec's")
    assert equal == 1_019


def by_owners(sequences: list[list[str]]) -> list[str]:
    """All items, ordered by the users that have them; items of the very same users by their first appearance."""
    owners: dict[str, list[int]] = {}
    for user, items in enumerate(sequences):
        for item in items:
            owners.setdefault(item, []).append(user)
    return sorted(owners, key=owners.__getitem__)


LAGS = {  # the table of the data's README: share of consecutive interactions within 0 s, 60 s, 15 min, 1 day
    "ml-100k": (0.510, 0.860, 0.979, 0.987),
    "amazon-beauty": (0.439, 0.439, 0.439, 0.466),
    "amazon-sports": (0.476, 0.476, 0.476, 0.496),
    "lastfm": (0.869, 0.870, 0.870, 0.871),
}


@pytest.mark.parametrize("name", LAGS)
def test_consumption_lag(name: str) -> None:
    shares = lag_shares(prepared(name)).values()
    assert [round(share, 3) for share in shares if share is not None] == list(LAGS[name])


@pytest.mark.parametrize(("name", "step"), [("ml-100k", "second"), ("ml-1m", "second"), ("amazon-beauty", "day"),
                                            ("amazon-sports", "day"), ("lastfm", "month")])
def test_the_measured_granularity_is_the_cards(name: str, step: str) -> None:
    assert granularity(prepared(name).times) == step == cards()[name].granularity


def test_attributes_cover_what_the_files_hold() -> None:
    assert describe(prepared("ml-1m"))["attributes"]["genre"]["coverage"] == 1.0
    assert describe(prepared("ml-1m"))["attributes"]["genre"]["values"] == 18
    beauty = describe(prepared("amazon-beauty"))
    assert beauty["attributes"]["category"]["coverage"] > 0.99
    assert round(beauty["attributes"]["brand"]["coverage"], 2) == 0.62
    assert beauty["titles"] > 0.9


def test_ml_1m_is_prepared_in_seconds() -> None:
    card = cards()["ml-1m"]
    started = time.perf_counter()
    prepare(card, {"archive": DATA / "mirror" / card.files[0].mirror})
    seconds = time.perf_counter() - started
    print(f"\nml-1m: prepared in {seconds:.2f} s")
    assert seconds < 15
