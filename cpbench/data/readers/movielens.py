"""MovieLens 100K and 1M (Harper & Konstan 2015): ratings in file order, titles and genres."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cpbench.data.readers.text import delimited
from cpbench.data.unpack import member

RATINGS = {"user": pl.String, "item": pl.String, "rating": pl.Int64, "time": pl.Int64}
U_ITEM = ("id", "title", "released", "video_released", "link")


def interactions_1m(files: Mapping[str, Path]) -> pl.DataFrame:
    """ml-1m/ratings.dat: user::item::rating::time."""
    content = member(files["archive"], "ml-1m/ratings.dat")
    return delimited(content, "ml-1m/ratings.dat", "::", RATINGS).select("user", "item", "time")


def items_1m(files: Mapping[str, Path], kept: pl.Series) -> pl.DataFrame:
    """ml-1m/movies.dat (latin-1): id::title::Genre|Genre."""
    content = member(files["archive"], "ml-1m/movies.dat")
    columns = {"id": pl.String, "title": pl.String, "genre": pl.String}
    movies = delimited(content, "ml-1m/movies.dat", "::", columns, encoding="latin-1")
    return movies.filter(pl.col("id").is_in(kept.implode())).with_columns(pl.col("genre").str.split("|"))


def interactions_100k(files: Mapping[str, Path]) -> pl.DataFrame:
    """ml-100k/u.data: user, item, rating, time."""
    content = member(files["archive"], "ml-100k/u.data")
    return delimited(content, "ml-100k/u.data", "\t", RATINGS).select("user", "item", "time")


def items_100k(files: Mapping[str, Path], kept: pl.Series) -> pl.DataFrame:
    """ml-100k/u.item (latin-1): five columns (dates and link may be empty), then a 0/1 column per genre."""
    listed = delimited(member(files["archive"], "ml-100k/u.genre"), "ml-100k/u.genre", "|",
                       {"genre": pl.String, "number": pl.Int64})
    genres = listed.sort("number")["genre"].to_list()
    columns = dict.fromkeys(U_ITEM, pl.String) | {f"genre:{name}": pl.Int64 for name in genres}
    movies = delimited(member(files["archive"], "ml-100k/u.item"), "ml-100k/u.item", "|", columns,
                       may_be_empty=U_ITEM[2:], encoding="latin-1")
    flags = [pl.when(pl.col(f"genre:{name}") == 1).then(pl.lit(name)) for name in genres if name != "unknown"]
    movies = movies.filter(pl.col("id").is_in(kept.implode()))
    return movies.select("id", "title", genre=pl.concat_list(flags).list.drop_nulls())
