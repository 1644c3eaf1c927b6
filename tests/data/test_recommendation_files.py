from pathlib import Path

import polars as pl
import pytest

from cpbench.data.recommendation_files import parse_roles_of_lists, read_recommendations
from cpbench.errors import UsageError


def written(folder: Path, text: str, name: str = "lists.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_scores_and_ranks_give_the_same_order(tmp_path: Path) -> None:
    scores = read_recommendations(written(tmp_path, "user,item,score\n7,a,2.5\n7,b,-1e-3\n8,a,3\n"))
    assert scores.ordered_by == "score"
    assert scores.rows.to_dict(as_series=False) == {"user": ["7", "7", "8"], "item": ["a", "b", "a"],
                                                    "score": [2.5, -0.001, 3.0]}
    table = pl.DataFrame({"track": ["b", "a", "a"], "uid": [7, 7, 8], "rank": [2, 1, 1], "other": [[1], [2], [3]]})
    table.write_parquet(tmp_path / "lists.parquet")
    ranks = read_recommendations(tmp_path / "lists.parquet", {"user": "uid", "item": "track"})
    assert ranks.ordered_by == "rank" and ranks.columns == {"user": "uid", "item": "track", "rank": "rank"}
    assert ranks.rows.to_dict(as_series=False) == {"user": ["7", "7", "8"], "item": ["b", "a", "a"],
                                                   "score": [-2.0, -1.0, -1.0]}


def test_of_a_score_and_a_rank_the_score_counts_unless_the_rank_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,score,rank\nu,a,0.5,1\nu,b,0.5,2\n")
    assert read_recommendations(path).rows["score"].to_list() == [0.5, 0.5]
    assert read_recommendations(path, {"rank": "rank"}).rows["score"].to_list() == [-1, -2]


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "lists.csv is empty"),
    ("user,item,score\n", "lists.csv holds no rows"),
    ("user,item\nu,a\n", "has neither a column 'score' nor a column 'rank' (it has user, item): name one with"),
    ("users,item,score\nu,a,1\n", "unknown column 'user'; did you mean 'users'? Known: item, score, users "
                                  "(--columns user=COLUMN names another)"),
    ("user,item,score\nu,,1\n", "lists.csv, line 2: item is missing"),
    ("user,item,score\nu,a,1\nu,b,1,1\n", "line 3: 4 fields where the header has 3"),
    ("user,item,score\nu,a,1\nv,a,1\nu,a,0\n", "line 4: user 'u' is recommended item 'a' twice"),
    ("user,item,score\nu,a,nan\n", "line 2: score is nan, not a finite number: leave out what is not recommended"),
    ("user,item,score\nu,a,1\nu,b,-inf\n", "line 3: score is -inf, not a finite number"),
    ("user,item,score\nu,a,\n", "line 2: score is missing, not a finite number"),
    ("user,item,score\nu,a,high\n", "line 2: score is high, not a finite number"),
    ("user,item,rank\nu,a,0\nu,b,1\n", "line 2: user 'u' has rank 0: ranks start from 1"),
    ("user,item,rank\nu,a,1\nu,b,-2\n", "line 3: user 'u' has rank -2, not a whole number from 1 on"),
    ("user,item,rank\nu,a,1\nu,b,1.5\n", "line 3: user 'u' has rank 1.5, not a whole number from 1 on"),
    ("user,item,rank\nv,a,1\nu,a,1\nu,b,1\n", "line 4: user 'u' has rank 1 twice"),
    ("user,item,rank\nv,a,1\nu,a,2\nu,b,3\n", "user 'u' has 2 items, ranked up to 3: ranks must be 1 to the length of"),
])
def test_a_bad_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_recommendations(written(tmp_path, text))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.parquet cannot be read: No such file"):
        read_recommendations(tmp_path / "absent.parquet")
    with pytest.raises(UsageError, match=r"is not a readable parquet file"):
        read_recommendations(written(tmp_path, "user,item,score\n", "lists.parquet"))
    with pytest.raises(UsageError, match=r"lists\.txt has none of the endings \.csv"):
        read_recommendations(written(tmp_path, "user,item,score\n", "lists.txt"))
    pl.DataFrame({"user": ["u"], "item": ["a"], "score": [[1.0]]}).write_parquet(tmp_path / "nested.parquet")
    with pytest.raises(UsageError, match=r"nested\.parquet, row 1: score is of type List\(Float64\), not a number"):
        read_recommendations(tmp_path / "nested.parquet")


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lists\.csv has two columns called 'user'"):
        read_recommendations(written(tmp_path, "user,item,score,user\nu,a,1,v\n"))


def test_a_column_for_two_roles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lists\.csv: column 'user' is named for two roles"):
        read_recommendations(written(tmp_path, "user,item,score\nu,a,1\n"), {"item": "user"})


def test_columns() -> None:
    assert parse_roles_of_lists("user=uid, score=s") == {"user": "uid", "score": "s"}
    with pytest.raises(UsageError, match="names both a score and a rank: lists are ordered by one of them"):
        parse_roles_of_lists("score=s,rank=r")
    with pytest.raises(UsageError, match="--columns: unknown role 'scores'; did you mean 'score'"):
        parse_roles_of_lists("scores=s")
