"""Each reader, on made-up files in the official format."""

from pathlib import Path

import polars as pl
import pytest

from cpbench.data.readers import READERS
from cpbench.errors import UsageError
from tests.data import official

KEPT = pl.Series(["1", "2"])


def test_movielens_1m(tmp_path: Path) -> None:
    path = official.ml_1m(tmp_path / "a.zip", [(1, 2, 30), (1, 1, 20), (2, 1, 10)],
                          "1::Toy Story (1995)::Animation|Comedy\n2::Misérables, Les (1995)::Drama\n3::Unseen::War\n")
    reader = READERS["movielens-1m"]
    assert reader.interactions({"archive": path}).rows() == [("1", "2", 30), ("1", "1", 20), ("2", "1", 10)]
    assert reader.items({"archive": path}, KEPT).rows() == [
        ("1", "Toy Story (1995)", ["Animation", "Comedy"]), ("2", "Misérables, Les (1995)", ["Drama"])]


def test_movielens_100k(tmp_path: Path) -> None:
    items = ("1|Toy Story|01-Jan-1995||http://x|0|1|1\n2|Misérables|||http://y|0|0|1\n3|unknown||||1|0|0\n")
    path = official.ml_100k(tmp_path / "a.zip", [(1, 2, 30), (2, 1, 10)], items)
    reader = READERS["movielens-100k"]
    assert reader.interactions({"archive": path}).rows() == [("1", "2", 30), ("2", "1", 10)]
    assert reader.items({"archive": path}, pl.Series(["1", "2", "3"])).rows() == [
        ("1", "Toy Story", ["Action", "Comedy"]), ("2", "Misérables", ["Comedy"]), ("3", "unknown", [])]


def test_amazon_reviews(tmp_path: Path) -> None:
    path = official.gzipped(tmp_path / "r.gz", [official.review("A", "B1", 5, reviewText="so \"good\"", helpful=[0, 1]),
                                                official.review("Z", "B0", 4)])
    frame = READERS["amazon-2014"].interactions({"reviews": path})
    assert frame.rows() == [("A", "B1", 5), ("Z", "B0", 4)]


def test_amazon_metadata_is_python_not_json(tmp_path: Path) -> None:
    reviews = official.reviews(tmp_path / "r.gz", [("A", "1", 5)])
    meta = official.gzipped(tmp_path / "m.gz", [
        "{'asin': '1', 'title': \"Women's Hat\", 'brand': 'B', 'price': 1.5, 'related': {'also_viewed': ['2', '3']}, "
        "'categories': [['Beauty', 'Hats', 'Wool'], ['Beauty', 'Gifts', 'Hats']]}",
        "{'asin': '2', 'categories': [['Beauty']]}",
        "{'asin': '9', this line is broken, but no kept item needs it}",
    ])
    table = READERS["amazon-2014"].items({"reviews": reviews, "meta": meta}, KEPT)
    assert table.rows() == [("1", "Women's Hat", ["Hats", "Wool", "Gifts"], ["B"], 1.5), ("2", None, [], [], None)]


def test_amazon_metadata_without_any_price_has_no_such_column(tmp_path: Path) -> None:
    meta = official.gzipped(tmp_path / "m.gz", ["{'asin': '1', 'title': 'Hat'}"])
    assert READERS["amazon-2014"].items({"meta": meta}, KEPT).columns == ["id", "title", "category", "brand"]


def test_amazon_without_metadata(tmp_path: Path) -> None:
    table = READERS["amazon-2014"].items({"reviews": tmp_path / "r.gz"}, KEPT)
    assert table.rows() == [("1", None), ("2", None)]


def test_lastfm(tmp_path: Path) -> None:
    path = official.hetrec(tmp_path / "a.zip", [(1, 1, 7, 1_238_536_800_000), (1, 1, 8, 1_238_536_800_999),
                                                (2, 1, 7, -428_720_400_000)])
    reader = READERS["lastfm-hetrec"]
    assert reader.interactions({"archive": path}).rows() == [
        ("1", "1", 1_238_536_800, 0), ("1", "1", 1_238_536_800, 999), ("2", "1", -428_720_400, 0)]
    # tag 7 was given by two users, tag 8 by one
    assert reader.items({"archive": path}, KEPT).rows() == [("1", "Artist 1", ["tag 7"])]


@pytest.mark.parametrize(("line", "reason"), [
    ('{"reviewerID": "A", "asin": "B"', "not a JSON object"),
    ('{"reviewerID": "A", "asin": "B"}', "unixReviewTime is None, not a whole number"),
    ('{"reviewerID": "A", "asin": "B", "unixReviewTime": "soon"}', "unixReviewTime is 'soon', not a whole number"),
    ('{"reviewerID": null, "asin": "B", "unixReviewTime": 1}', "reviewerID is None, not a string"),
    ("[1, 2]", "reviewerID is None, not a string"),
])
def test_a_malformed_review(tmp_path: Path, line: str, reason: str) -> None:
    path = official.gzipped(tmp_path / "reviews_X.json.gz", [official.review("A", "B", 1), line])
    with pytest.raises(UsageError) as caught:
        READERS["amazon-2014"].interactions({"reviews": path})
    assert str(caught.value).startswith(f"reviews_X.json.gz, line 2: {reason}")


@pytest.mark.parametrize("line", [
    "{'asin': '1', 'title': }", "{'asin': '1', 'categories': 5}", "{'asin': '1', 'title': open('x')}",
    "['asin', {'asin': '1'}]",
])
def test_a_malformed_product(tmp_path: Path, line: str) -> None:
    meta = official.gzipped(tmp_path / "meta_X.json.gz", ["{'asin': '2'}", line])
    with pytest.raises(UsageError, match=r"^meta_X\.json\.gz, line 2: not the Python literal of a product"):
        READERS["amazon-2014"].items({"meta": meta}, KEPT)


def test_a_malformed_rating(tmp_path: Path) -> None:
    path = official.zipped(tmp_path / "a.zip", {"ml-1m/ratings.dat": "1::2::3::4\n1::2::3\n"})
    with pytest.raises(UsageError, match=r"^ml-1m/ratings\.dat, line 2: 3 fields where 4 are expected"):
        READERS["movielens-1m"].interactions({"archive": path})
    path = official.zipped(tmp_path / "b.zip", {"ml-100k/u.data": "1\t2\t3\tyesterday\n"})
    with pytest.raises(UsageError, match=r"^ml-100k/u\.data, line 1: time is 'yesterday'"):
        READERS["movielens-100k"].interactions({"archive": path})


def test_a_malformed_movie(tmp_path: Path) -> None:
    path = official.ml_1m(tmp_path / "a.zip", [(1, 1, 1)], "1::Title\n")
    with pytest.raises(UsageError, match=r"^ml-1m/movies\.dat, line 1: 2 fields where 3"):
        READERS["movielens-1m"].items({"archive": path}, KEPT)
    path = official.ml_100k(tmp_path / "b.zip", [(1, 1, 1)], "1|Title|||http://x|0|1\n")
    with pytest.raises(UsageError, match=r"^ml-100k/u\.item, line 1: 7 fields where 8"):
        READERS["movielens-100k"].items({"archive": path}, KEPT)


def test_a_malformed_tag_assignment(tmp_path: Path) -> None:
    name = "user_taggedartists-timestamps.dat"
    path = official.zipped(tmp_path / "a.zip", {name: "userID\tartistID\ttagID\ttimestamp\n1\t2\t3\t\n"})
    with pytest.raises(UsageError, match=rf"^{name}, line 2: time is missing"):
        READERS["lastfm-hetrec"].interactions({"archive": path})


def test_empty_reviews(tmp_path: Path) -> None:
    path = official.gzipped(tmp_path / "r.gz", [])
    with pytest.raises(UsageError, match=r"r\.gz is empty"):
        READERS["amazon-2014"].interactions({"reviews": path})
