"""HetRec 2011 LastFM (Cantador et al. 2011): tag assignments, read as S3-Rec's sequential task."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cpbench.data.readers.text import delimited
from cpbench.data.unpack import member

TAGGED = "user_taggedartists-timestamps.dat"
TAG_USERS = 2
"""An artist carries a tag that at least this many users gave: one person's word is noise (and 12,000 tags)."""


def _assignments(files: Mapping[str, Path]) -> pl.DataFrame:
    columns = {"user": pl.String, "item": pl.String, "tag": pl.String, "time": pl.Int64}
    return delimited(member(files["archive"], TAGGED), TAGGED, "\t", columns, header=True)


def interactions(files: Mapping[str, Path]) -> pl.DataFrame:
    """One row per tag assignment; the card keeps the first row of each (user, artist). Times are milliseconds."""
    time = pl.col("time")
    return _assignments(files).select("user", "item", time // 1000, fraction=time % 1000)


def items(files: Mapping[str, Path], kept: pl.Series) -> pl.DataFrame:
    """Artist names, and the tags that at least two users gave to the artist."""
    columns = {"id": pl.String, "title": pl.String, "url": pl.String, "picture": pl.String}
    artists = delimited(member(files["archive"], "artists.dat"), "artists.dat", "\t", columns, header=True,
                        may_be_empty=("title", "url", "picture"))
    names = delimited(member(files["archive"], "tags.dat"), "tags.dat", "\t",
                      {"tag": pl.String, "name": pl.String}, header=True, encoding="latin-1")
    tags = (_assignments(files).rename({"item": "id"}).filter(pl.col("id").is_in(kept.implode()))
            .group_by("id", "tag").agg(pl.col("user").n_unique()).filter(pl.col("user") >= TAG_USERS)
            .join(names, on="tag").sort("id", "name").group_by("id", maintain_order=True).agg(tag="name"))
    return (artists.filter(pl.col("id").is_in(kept.implode())).select("id", "title")
            .join(tags, on="id", how="left").with_columns(pl.col("tag").fill_null([])))
