"""The user's own data: CSV and Parquet, and one sentence for everything that can be wrong with them."""

import gzip
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from cpbench.data.timestamps import Unit
from cpbench.data.user_files import check_name, parse_columns, prepare_own
from cpbench.errors import UsageError
from tests.data.test_prepare import sequences

ROLES = {"user": "who", "item": "what", "time": "at"}
CSV = "who,what,at,stars\nann,x,30,5\nann,y,10,4\nbob,x,20,\nann,z,10,1\n"
EXPECTED = {"ann": [("y", 10), ("z", 10), ("x", 30)], "bob": [("x", 20)]}


def written(folder: Path, text: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv(tmp_path: Path) -> None:
    dataset = prepare_own("mine", written(tmp_path, CSV), ROLES)
    assert sequences(dataset) == EXPECTED
    assert dataset.manifest["users_with_one_interaction"] == 1
    assert dataset.manifest["exclude_seen"] is True
    assert dataset.manifest["granularity"] == "second"
    [entry] = dataset.manifest["sources"]
    assert entry["from"] == str(tmp_path / "events.csv")
    assert entry["checksum"].startswith("sha256:")


def test_parquet_with_its_own_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"what": ["x", "y", "x", "z"], "who": [1, 1, 2, 1],
                          "at": [datetime(1970, 1, 1, 0, 0, second) for second in (30, 10, 20, 10)]})
    frame.write_parquet(tmp_path / "events.parquet")
    dataset = prepare_own("mine", tmp_path / "events.parquet", ROLES)
    assert sequences(dataset) == {"1": EXPECTED["ann"], "2": EXPECTED["bob"]}


def test_lines_may_end_in_carriage_returns_alone(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_bytes(CSV.replace("\n", "\r").encode())
    assert sequences(prepare_own("mine", tmp_path / "events.csv", ROLES)) == EXPECTED


def test_blank_lines_before_the_header_count(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"events.csv, line 7: at is 'soon', not a number"):
        prepare_own("mine", written(tmp_path, "\n\n" + CSV.replace("ann,z,10", "ann,z,soon")), ROLES)


def test_a_date_is_no_id(tmp_path: Path) -> None:
    far = pl.Series([10**7], dtype=pl.Int32).cast(pl.Date)  # polars panics where it shows such a date
    pl.DataFrame({"who": far, "what": ["x"], "at": [1]}).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(UsageError, match="who is of type Date, not an id"):
        prepare_own("mine", tmp_path / "events.parquet", ROLES)


@pytest.mark.parametrize("title", [["a", "b"], b"\xff"])
def test_titles_that_are_no_text(tmp_path: Path, title: object) -> None:
    pl.DataFrame({"id": ["x"], "title": [title]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(UsageError, match=r"items.parquet: column 'title' is of type (List|Binary).*, not text"):
        prepare_own("mine", written(tmp_path, CSV), ROLES, tmp_path / "items.parquet")


def test_quoted_csv(tmp_path: Path) -> None:
    path = written(tmp_path, 'who,what,at\n"Ann, the ""first""","line\nbreak",5\n')
    assert sequences(prepare_own("mine", path, ROLES)) == {'Ann, the "first"': [("line\nbreak", 5)]}


def test_a_quote_inside_a_field_is_a_letter(tmp_path: Path) -> None:
    path = written(tmp_path, 'who,note,note,what,at\na"b,,,x,5\nc"d,,,y,6\ne,,,z,7\n')
    assert sequences(prepare_own("mine", path, ROLES)) == {'a"b': [("x", 5)], 'c"d': [("y", 6)], "e": [("z", 7)]}


def test_blanks_around_names_and_blank_lines_at_the_end(tmp_path: Path) -> None:
    path = written(tmp_path, "who, at , note,what \na,5,,x\nb,6,,y\n\n\n")
    assert sequences(prepare_own("mine", path, ROLES)) == {"a": [("x", 5)], "b": [("y", 6)]}
    for text in ("who,what,at\na,x,5\n\n", 'who,what,at\na"b,x,5\n\n\n'):
        assert list(sequences(prepare_own("mine", written(tmp_path, text), ROLES)).values()) == [[("x", 5)]]


@pytest.mark.parametrize("name", ["events.csv", "events.tsv", "events.csv.gz", "EVENTS.TSV.GZ"])
def test_tabs_and_gzip(tmp_path: Path, name: str) -> None:
    text = CSV if ".csv" in name else CSV.replace(",", "\t")
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.lower().endswith("gz") else text.encode())
    assert sequences(prepare_own("mine", tmp_path / name, ROLES)) == EXPECTED
    odd = text.replace("bob", 'b"b')  # which polars cannot read
    (tmp_path / name).write_bytes(gzip.compress(odd.encode()) if name.lower().endswith("gz") else odd.encode())
    assert sequences(prepare_own("mine", tmp_path / name, ROLES))['b"b'] == EXPECTED["bob"]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("events.tsv", CSV.encode(), "events.tsv separates its columns by ',': call it .csv"),
    ("events.csv.gz", CSV.encode(), "cannot be read: Not a gzipped file"),
    ("events.csv.gz", gzip.compress(CSV.encode() * 99)[:-20], "cannot be read: unexpected end of file"),
    ("events.parquet.gz", b"", "has another ending: your own interactions lie in a file that ends in .csv, .tsv,"),
], ids=["commas", "plain", "cut", "parquet"])
def test_files_that_are_called_otherwise(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        prepare_own("mine", tmp_path / name, ROLES)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_ids_stay_as_they_are_written(tmp_path: Path) -> None:
    path = written(tmp_path, "who,what,at\n007,1e3,5\n7,1000,6\n")
    assert sequences(prepare_own("mine", path, ROLES)) == {"007": [("1e3", 5)], "7": [("1000", 6)]}


def test_milliseconds(tmp_path: Path) -> None:
    path = written(tmp_path, "who,what,at\na,x,1700000000500\n")
    with pytest.raises(UsageError, match=r"events\.csv, line 2: at is 1700000000500.*add --time-unit ms"):
        prepare_own("mine", path, ROLES)
    assert prepare_own("mine", path, ROLES, unit="ms").times.tolist() == [1_700_000_000]


@pytest.mark.parametrize(("times", "unit"), [
    ("1700000000900,1700000000100", "ms"), ("1700000000.9,1700000000.1", "s"),
    ("2023-11-14T22:13:20.900Z,2023-11-14T22:13:20.100Z", "s"),
])
def test_fractions_of_a_second_order_interactions(tmp_path: Path, times: str, unit: Unit) -> None:
    late, early = times.split(",")
    path = written(tmp_path, f"who,what,at\na,late,{late}\na,early,{early}\n")
    assert sequences(prepare_own("mine", path, ROLES, unit=unit)) == {
        "a": [("early", 1_700_000_000), ("late", 1_700_000_000)]}


def test_k_core(tmp_path: Path) -> None:
    rows = "".join(f"u{user},i{item},{item}\n" for user in range(3) for item in range(3))
    dataset = prepare_own("mine", written(tmp_path, f"who,what,at\n{rows}lonely,i0,5\n"), ROLES, k_core=3)
    assert dataset.counts() == {"users": 3, "items": 3, "interactions": 9}
    with pytest.raises(UsageError, match="no interaction is left"):
        prepare_own("mine", written(tmp_path, CSV), ROLES, k_core=5)


def test_repeats_leave_seen_items_in_the_ranking(tmp_path: Path) -> None:
    dataset = prepare_own("mine", written(tmp_path, "who,what,at\na,x,1\na,x,2\n"), ROLES)
    assert dataset.manifest["exclude_seen"] is False
    assert dataset.manifest["repeat_share"] == 0.5


def test_rows_that_are_there_twice_are_told_of(tmp_path: Path) -> None:
    doubled = prepare_own("mine", written(tmp_path, "who,what,at\na,x,1\na,x,1\na,x,1\na,y,1\nb,x,1.5\nb,x,1\n"), ROLES)
    (warning,) = doubled.manifest["warnings"]
    assert warning.startswith("mine: 2 of 6 interactions have the user, item and time of an earlier one; they are kept")
    assert doubled.n_interactions == 6
    assert prepare_own("mine", written(tmp_path, CSV), ROLES).manifest["warnings"] == []


def test_items_of_csv(tmp_path: Path) -> None:
    items = written(tmp_path, "id,title,genre,released,label\nx,Song X,jazz| folk |,2020-01-01,\nunused,,pop,,L\n"
                              "y,,,,L\n", "items.csv")
    dataset = prepare_own("mine", written(tmp_path, CSV), ROLES, items)
    table = dataset.item_table.sort("id")
    assert table["title"].to_list() == ["Song X", None, None]
    assert table["genre"].to_list() == [["jazz", "folk"], [], []]
    assert table["label"].to_list() == [[], ["L"], []]
    assert table["released"].to_list() == [1_577_836_800, None, None]
    assert dataset.attribute_names == ["genre", "label"]


def test_a_column_without_a_name_is_no_attribute(tmp_path: Path) -> None:
    items = written(tmp_path, ",id,artist\n0,x,a\n1,y,b\n", "items.csv")
    assert prepare_own("mine", written(tmp_path, CSV), ROLES, items).attribute_names == ["artist"]


def test_items_of_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["x", "y"], "genre": [["jazz", ""], None], "year": [1999, None]}).write_parquet(
        tmp_path / "items.parquet")
    dataset = prepare_own("mine", written(tmp_path, CSV), ROLES, tmp_path / "items.parquet")
    table = dataset.item_table.sort("id")
    assert table["genre"].to_list() == [["jazz"], [], []]
    assert table["year"].to_list() == [["1999"], [], []]


@pytest.mark.parametrize(("text", "message"), [
    ("", "is empty"),
    ("who,what,at\n", "holds no rows"),
    ("who;what;at\na;x;1\n", "events.csv separates its columns by ';': write it with commas, or as Parquet"),
    ("who\twhat\tat\na\tx\t1\n", "events.csv separates its columns by '\\t': call it .tsv"),
    ("w\0h\0o\0,\0w\0h\0a\0t\0", "events.csv is not UTF-8 text, but perhaps UTF-16: save it as UTF-8"),
    ("who,item,at\na,x,1\n", "events.csv: unknown column 'what'; did you mean 'at' or 'who'?"),
    ("who,what,at,who\na,x,1,b\n", "events.csv has two columns called 'who': rename or remove one"),
    ("who,what,at\na,x,1\n,x,2\n", "events.csv, line 3: who is missing"),
    ("who,what,at\na,x,1\n\nb,x,2\n", "events.csv, line 3 is blank, or has nothing in the columns that are needed"),
    ("who,what,at\n\n\n", "holds no rows"),
    ("who, who ,what,at\na,b,x,1\n", "events.csv has two columns called 'who': rename or remove one"),
    ("who,what,at\na,x,1\nb\0,x,2\n", "events.csv, line 3: who holds a NUL byte, which no text does"),
    ("who,what,at\na,,1\n", "events.csv, line 2: what is missing"),
    ("who,what,at\na,x,1\na,x,\n", "events.csv, line 3: at is missing"),
    ("who,what,at\na,x,-5\n", "events.csv, line 2: at is negative"),
    ("who,what,at\na,x,1\na,x,soon\n", "events.csv, line 3: at is 'soon', not a number"),
    ("who,what,at\na,x,1\na,x,2,3\n", "events.csv, line 3: 4 fields where the header has 3"),
])
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_own("mine", written(tmp_path, text), ROLES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"events\.csv: unknown column 'wat'; did you mean 'what' or 'at'\?"):
        prepare_own("mine", written(tmp_path, CSV), {**ROLES, "item": "wat"})


def test_a_column_for_two_roles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"events\.csv: column 'who' is named for two roles; each needs a column of "):
        prepare_own("mine", written(tmp_path, CSV), {**ROLES, "item": "who"})


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_bytes(b"who,what,at\n\xff\xfe,x,1\n")
    with pytest.raises(UsageError, match=r"events\.csv is not UTF-8 text"):
        prepare_own("mine", tmp_path / "events.csv", ROLES)


def test_the_header_as_it_stands(tmp_path: Path) -> None:
    text = '\ufeffwho,"what",at,note,note,who_duplicated_0\n'  # what is not asked for may be there twice
    assert sequences(prepare_own("mine", written(tmp_path, f"{text}ann,x,5,,,bob\n"), ROLES)) == {"ann": [("x", 5)]}


def test_a_parquet_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"events\.parquet is not a readable parquet file"):
        prepare_own("mine", written(tmp_path, CSV, "events.parquet"), ROLES)


def test_parquet_rows_are_counted_from_one(tmp_path: Path) -> None:
    pl.DataFrame({"who": ["a", None], "what": ["x", "y"], "at": [1, 2]}).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(UsageError, match=r"e\.parquet, row 2: who is missing"):
        prepare_own("mine", tmp_path / "e.parquet", ROLES)


def test_an_id_that_is_no_number_is_missing(tmp_path: Path) -> None:
    pl.DataFrame({"who": [1.0, float("nan")], "what": ["x", "y"], "at": [1, 2]}).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(UsageError, match=r"e\.parquet, row 2: who is missing"):
        prepare_own("mine", tmp_path / "e.parquet", ROLES)


def test_another_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"events\.xlsx has another ending: your own interactions lie in a file that "
                                         r"ends in \.csv, .* or \.parquet \(or in \.inter, without --columns\)"):
        prepare_own("mine", written(tmp_path, CSV, "events.xlsx"), ROLES)
    with pytest.raises(UsageError, match=r"items\.xlsx has none of the endings \.csv, \.tsv"):
        prepare_own("mine", written(tmp_path, CSV), ROLES, written(tmp_path, CSV, "items.xlsx"))


def test_an_absent_file(tmp_path: Path) -> None:
    for name in ("absent.csv", "absent.parquet"):
        with pytest.raises(UsageError, match=rf"{name} cannot be read: No such file or directory$"):
            prepare_own("mine", tmp_path / name, ROLES)


@pytest.mark.parametrize(("text", "message"), [
    ("id,genre,genre\nx,a,b\n", "items.csv has two columns called 'genre': rename or remove one"),
    ("title\nX\n", "has no column 'id' (it has title)"),
    ("id\nx\n\"\"\n", "line 3: id is missing"),
    ("id,title\nx,A\nx,B\n", "line 3: item 'x' occurs more than once"),
    ("id,popularity\nx,1\n", "items.csv: rename the column 'popularity', for `--condition popularity` is what cpb"),
    ("id,freshness\nx,1\n", "items.csv: rename the column 'freshness'"),
    ("id\n1\n", "describes none of the items"),
])
def test_bad_items(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_own("mine", written(tmp_path, CSV), ROLES, written(tmp_path, text, "items.csv"))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["../escape", "a/b", "/etc/passwd", "..", ".hidden", "", "a,b", "a b", "x" * 65])
def test_names_that_are_no_names(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a dataset"):
        check_name(name)


@pytest.mark.parametrize("name", ["ml-1m", "ML-1M", "streaming"])
def test_names_of_cards_are_taken(name: str) -> None:
    with pytest.raises(UsageError, match="is the name of a dataset that cpbench knows"):
        check_name(name)


def test_columns() -> None:
    assert parse_columns("user=who, item=what ,time=a=b") == {"user": "who", "item": "what", "time": "a=b"}


@pytest.mark.parametrize(("text", "message"), [
    ("user=u,item=i", "lacks time; a sequence needs an order"),
    ("time=t", "lacks user, item"),
    ("user=u,item=i,time", "'time' is not ROLE=COLUMN"),
    ("user=u,item=i,tme=t", "--columns: unknown role 'tme'; did you mean 'time'"),
    ("user=u,user=v,item=i,time=t", "names user twice"),
    ("", "'' is not ROLE=COLUMN"),
])
def test_bad_columns(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_columns(text)
    assert message in str(caught.value)
