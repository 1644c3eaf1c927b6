"""RecBole's atomic files: read, written, and one sentence for everything that can be wrong with them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cpbench.data.dataset import Dataset
from cpbench.data.recbole_files import export, prepare_atomic
from cpbench.errors import CpbenchError, UsageError
from tests.data.test_prepare import sequences

INTER = ("user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
         "ann\tx\t5\t30\nann\ty\t4\t10.25\nbob\tx\t3\t20\nann\tz\t1\t10.75\n")
ITEM = ("item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tprice:float\n"
        "x\tToy Story\t1995\tComedy Children's\t3.5\ny\t\t\t\t\n")


def written(folder: Path, inter: str = INTER, item: str | None = None) -> Path:
    (folder / "shop.inter").write_text(inter, encoding="utf-8")
    if item is not None:
        (folder / "shop.item").write_text(item, encoding="utf-8")
    return folder / "shop.inter"


def test_interactions_alone(tmp_path: Path) -> None:
    dataset = prepare_atomic("mine", written(tmp_path))
    assert sequences(dataset) == {"ann": [("y", 10), ("z", 10), ("x", 30)], "bob": [("x", 20)]}
    assert dataset.attribute_names == []


def test_items_beside_them(tmp_path: Path) -> None:
    dataset = prepare_atomic("mine", written(tmp_path, item=ITEM))
    assert dataset.item_table.sort("id").to_dicts() == [
        {"id": "x", "title": "Toy Story", "release_year": ["1995"], "class": ["Comedy", "Children's"]},
        {"id": "y", "title": None, "release_year": [], "class": []},
        {"id": "z", "title": None, "release_year": [], "class": []}]
    assert dataset.manifest["warnings"] == ["shop.item: price:float left out: a number is no attribute of items"]
    assert [source["role"] for source in dataset.manifest["sources"]] == ["interactions", "items"]


def awkward() -> Dataset:
    """Ties in time, repeated items, users out of order, odd texts, an item that nobody took."""
    table = pl.DataFrame({
        "id": ["a b", "007", '"q"', "d", "nobody's"],
        "title": ['The "Best" of\ttabs', None, '"Great Performances" Cats', "d", "e"],
        "released": [None, 5, 1_000_000, 7, 8],
        "genre": [["Film Noir", "Sci-Fi"], [], ["Drama"], ["Drama", "Film Noir"], ["e"]],
    }, schema_overrides={"genre": pl.List(pl.String), "released": pl.Int64})
    return Dataset("awkward", np.array([2, 0, 0, 1, 3, 2], np.int32), np.array([9, 9, 9, 10, 3, 4], np.int64),
                   np.array([0, 4, 6]), pl.Series("id", ["zoe", "adam"]), table)


def test_a_round_trip(tmp_path: Path) -> None:
    first = awkward()
    inter, item = export(first, tmp_path / "out")
    assert inter.read_text().splitlines()[0] == "user_id:token\titem_id:token\ttimestamp:float"
    assert item.read_text().splitlines()[0] == "item_id:token\ttitle:token_seq\treleased:float\tgenre:token_seq"
    second = prepare_atomic("once", inter)
    assert sequences(second) == sequences(first)
    described = {row["id"]: row for row in first.item_table.to_dicts()}
    assert {row["id"]: row for row in second.item_table.to_dicts()} == {
        name: row for name, row in described.items() if name != "nobody's"}  # what nobody took drops out
    third = prepare_atomic("twice", export(second, tmp_path / "again")[0])
    assert third.fingerprint == second.fingerprint


def test_a_byte_order_mark_is_no_letter(tmp_path: Path) -> None:
    assert sequences(prepare_atomic("mine", written(tmp_path, "\ufeff" + INTER)))["bob"] == [("x", 20)]


def test_the_title_before_what_is_only_called_like_one(tmp_path: Path) -> None:
    item = "item_id:token\tsub_title:token\ttitle:token\nx\tII\tToy Story\n"
    table = prepare_atomic("mine", written(tmp_path, item=item)).item_table
    assert table.filter(pl.col("id") == "x").to_dicts() == [{"id": "x", "title": "Toy Story", "sub_title": ["II"]}]


def test_a_quote_inside_a_field_is_a_letter(tmp_path: Path) -> None:
    """As in RecBole, whose reader unquotes a field that begins with a quote and takes any other as it stands."""
    inter = 'user_id:token\titem_id:token\ttimestamp:float\n5"\tx\t1\n5"\t"1 ""y\t"\t2\nb"c"\tx\t3\n'
    dataset = prepare_atomic("mine", written(tmp_path, inter))
    assert sequences(dataset) == {'5"': [("x", 1), ('1 "y\t', 2)], 'b"c"': [("x", 3)]}


def test_what_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    export(awkward(), tmp_path)
    (tmp_path / "awkward.inter").write_text("mine")
    (tmp_path / "awkward.item").unlink()
    with pytest.raises(UsageError, match=r"awkward\.inter exists already \(--force writes it again\)"):
        export(awkward(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["awkward.inter"]
    export(awkward(), tmp_path, force=True)
    assert (tmp_path / "awkward.inter").read_text().startswith("user_id")
    with pytest.raises(CpbenchError, match="cannot write"):
        export(awkward(), tmp_path / "awkward.inter")


@pytest.mark.parametrize(("inter", "sentence"), [
    ("", r"shop\.inter is empty"),
    ("user_id:token\titem_id:token\ttimestamp:float\n", r"shop\.inter holds no rows"),
    ("user_id:token\titem_id:token\nann\tx\n", r"has no column timestamp:float \(it has user_id:token, item_id:token\)"
                                               ": a sequence needs an order"),
    ("user_id:token\titem_id:token\ttimestamp:token\nann\tx\t1\n", "has no column timestamp:float"),
    ("user:token\titem_id:token\ttimestamp:float\nann\tx\t1\n", "has no column user_id:token"),
    ("user_id\titem_id\ttimestamp\nann\tx\t1\n", "'user_id' in the header is not NAME:TYPE"),
    ("user_id:token,item_id:token,timestamp:float\nann,x,1\n", "tabs separate columns"),
    ("user_id:token\tuser_id:token\titem_id:token\ttimestamp:float\n", "names the column user_id twice"),
    (INTER + "bob\tx\n", r"line 6: 2 fields where the header has 4"),
    (INTER + "bob\tx\t1\t2\t3\n", r"line 6: 5 fields where the header has 4"),
    (INTER + 'b"b\tx\t1\n', r"line 6: 3 fields where the header has 4"),
    (INTER + 'b"b\t\t1\t2\n', r"line 6: item_id is missing"),
    (INTER + 'bob\t"x"y\t1\t2\n', r"line 6: not readable \(.*expected after"),
    (INTER + 'bob\t"x\t1\t2\n', r"line 6: not readable \(unexpected end of data\)"),
    (INTER + "bob\t\t1\t2\n", r"line 6: item_id is missing"),
    (INTER + "bob\tx\t1\t\n", r"line 6: timestamp is missing"),
    (INTER + "bob\tx\t1\tsoon\n", r"line 6: timestamp is 'soon', not a number"),
    (INTER + "bob\tx\t1\t1700000000500\n", r"line 6: timestamp is .*looks like milliseconds, most others do not"),
])
def test_bad_interactions(tmp_path: Path, inter: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        prepare_atomic("mine", written(tmp_path, inter))


@pytest.mark.parametrize(("item", "sentence"), [
    ("", r"shop\.item is empty"),
    ("title:token_seq\nx\n", r"has no column item_id:token \(it has title:token_seq\)"),
    ("item_id:token\tclass:token_seq\nx\ta\nx\tb\n", r"line 3: item 'x' occurs more than once"),
    ("item_id:token\tclass:token_seq\nx\ta\nz\n", r"line 3: 1 fields where the header has 2"),
    ("item_id:token\tpopularity:token\nx\thigh\n", r"shop\.item: rename the column 'popularity'"),
    ("item_id:token\tid:token\nx\t1\n", r"shop\.item: id means something else here .* another name"),
    ("item_id:token\treleased:token\nx\t1999\n", r"shop\.item: released means something else here"),
    ("item_id:token\tclass:words\nx\ta\n", "'class:words' in the header is not NAME:TYPE"),
    ("item_id:token\tclass:token_seq\n1\ta\n", "describes none of the items"),
])
def test_bad_items(tmp_path: Path, item: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        prepare_atomic("mine", written(tmp_path, item=item))


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.inter cannot be read: No such file"):
        prepare_atomic("mine", tmp_path / "nowhere.inter")
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + b"bob\t\xff\t1\t2\n")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        prepare_atomic("mine", path)
