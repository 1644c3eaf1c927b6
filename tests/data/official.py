"""Made-up data in the official formats of the public datasets: what the readers' tests read."""

import gzip
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cpbench.data.card import Card, Counts, cards


def small_card(name: str, users: int, items: int, interactions: int, raw: Counts | None = None) -> Card:
    """The public card `name`, with other counts and without the official checksums and sizes."""
    files = [file.model_copy(update={"bytes": None, "checksum": None}) for file in cards()[name].files]
    expected = Counts(users=users, items=items, interactions=interactions)
    return cards()[name].model_copy(update={"expected": expected, "raw": raw, "files": files})


def zipped(path: Path, members: dict[str, str | bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def gzipped(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def ml_1m(path: Path, ratings: Iterable[tuple[int, int, int]], movies: str = "") -> Path:
    """ratings: (user, item, time)."""
    lines = "".join(f"{user}::{item}::4::{time}\n" for user, item, time in ratings)
    return zipped(path, {"ml-1m/ratings.dat": lines, "ml-1m/movies.dat": movies.encode("latin-1")})


GENRES = ("unknown", "Action", "Comedy")


def ml_100k(path: Path, ratings: Iterable[tuple[int, int, int]], items: str | None = None) -> Path:
    """ratings: (user, item, time). Every item is a comedy unless `items` says otherwise."""
    rows = list(ratings)
    lines = "".join(f"{user}\t{item}\t3\t{time}\n" for user, item, time in rows)
    if items is None:
        items = "".join(f"{item}|Film {item}|01-Jan-1995||http://example.org|0|0|1\n"
                        for item in sorted({item for _, item, _ in rows}))
    genres = "".join(f"{genre}|{number}\n" for number, genre in enumerate(GENRES))
    return zipped(path, {"ml-100k/u.data": lines, "ml-100k/u.item": items.encode("latin-1"),
                         "ml-100k/u.genre": genres})


def full_ml_100k(path: Path) -> Path:
    """Made-up ratings with exactly the counts of the real ml-100k: 943 users, 1,682 items, 100,000 rows."""
    return ml_100k(path, ((row % 943 + 1, row % 1682 + 1, 880_000_000 + row) for row in range(100_000)))


def review(user: str, item: str, time: int, **more: Any) -> str:
    return json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": time, **more})


def reviews(path: Path, rows: Iterable[tuple[str, str, int]]) -> Path:
    return gzipped(path, (review(*row) for row in rows))


def full_musical_instruments(path: Path) -> Path:
    """Made-up reviews with the counts of the real ones: 1,429 users, 900 items, 10,261 rows, all in the 5-core."""
    return reviews(path, ((f"U{row % 1429}", f"I{row % 900}", 86_400 * (15_000 + row % 700)) for row in range(10_261)))


def hetrec(path: Path, assignments: Iterable[tuple[int, int, int, int]]) -> Path:
    """assignments: (user, artist, tag, milliseconds)."""
    rows = list(assignments)
    tagged = "".join(f"{user}\t{artist}\t{tag}\t{time}\n" for user, artist, tag, time in rows)
    artists = "".join(f"{artist}\tArtist {artist}\thttp://example.org/{artist}\t\n"
                      for artist in sorted({row[1] for row in rows}))
    tags = "".join(f"{tag}\ttag {tag}\n" for tag in sorted({row[2] for row in rows}))
    return zipped(path, {
        "user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n" + tagged,
        "artists.dat": "id\tname\turl\tpictureURL\n" + artists,
        "tags.dat": "tagID\ttagValue\n" + tags,
    })
