"""Download: what is believed, what is said, what is left behind."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from cpbench.data import catalogue, fetch, sources
from cpbench.data.card import Card, Counts, cards
from cpbench.data.download import download, locked
from cpbench.errors import CpbenchError, UsageError
from cpbench.files import home
from tests.data.official import gzipped, ml_1m, reviews, small_card
from tests.data.server import Behaviour, serving

RATINGS = [(user, item, 10 * item) for user in range(1, 7) for item in range(1, 6)]
RAW = Counts(users=6, items=5, interactions=30)
MOVIES = "".join(f"{item}::Film {item}::Drama\n" for item in range(1, 6))
SMALL = small_card("ml-1m", 6, 5, 30, RAW)


class Listening:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def advance(self, file: str, done: int, total: int | None) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    ml_1m(tmp_path / "mirror" / "ml-1m" / "ml-1m.zip", RATINGS, MOVIES)
    return tmp_path / "mirror"


def with_checksum(card: Card, checksum: str, size: int | None = None) -> Card:
    first = card.files[0].model_copy(update={"checksum": checksum, "bytes": size})
    return card.model_copy(update={"files": [first, *card.files[1:]]})


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
                  and path.suffix != ".lock")


PREPARED = [f"prepared/ml-1m/{name}" for name in ("interactions.parquet", "items.parquet", "manifest.json",
                                                  "users.parquet")]


def test_from_a_mirror_folder(mirror: Path, cache: Path) -> None:
    outcome = download(SMALL, Listening(), str(mirror))
    assert outcome.status == "prepared"
    assert files_under(cache) == [*PREPARED, "raw/ml-1m/ml-1m.zip", "raw/ml-1m/ml-1m.zip.source.json"]
    assert catalogue.load("ml-1m").counts() == RAW.model_dump()
    [entry] = outcome.manifest["sources"]
    archive = mirror / "ml-1m" / "ml-1m.zip"
    assert entry == {"role": "archive", "file": "ml-1m.zip", "from": str(archive), "bytes": archive.stat().st_size,
                     "checksum": fetch.checksum(archive), "official_checksum": None, "official": "unknown"}


@pytest.mark.parametrize("given", ["mirror/ml-1m", "mirror/ml-1m/ml-1m.zip", "renamed.zip"])
def test_from_a_flat_folder_or_the_file_itself(mirror: Path, tmp_path: Path, given: str) -> None:
    (tmp_path / "renamed.zip").write_bytes((mirror / "ml-1m" / "ml-1m.zip").read_bytes())
    assert download(SMALL, Listening(), str(tmp_path / given)).status == "prepared"


@pytest.mark.parametrize("given", ["", "/", "/ml-1m/ml-1m.zip"])
def test_from_a_web_mirror(mirror: Path, given: str) -> None:
    content = (mirror / "ml-1m" / "ml-1m.zip").read_bytes()
    with serving(Behaviour({"ml-1m/ml-1m.zip": content})) as web:
        outcome = download(SMALL, Listening(), web.url + given)
    assert outcome.manifest["sources"][0]["from"] == f"{web.url}/ml-1m/ml-1m.zip"


def test_a_mirrors_password_is_not_kept(mirror: Path, cache: Path) -> None:
    with serving(Behaviour({"ml-1m/ml-1m.zip": (mirror / "ml-1m" / "ml-1m.zip").read_bytes()})) as web:
        outcome = download(SMALL, Listening(), web.url.replace("://", "://me:secret@"))
    assert outcome.manifest["sources"][0]["from"] == f"{web.url}/ml-1m/ml-1m.zip"
    assert not any(b"secret" in path.read_bytes() for path in cache.rglob("*.json"))


def test_without_a_mirror_the_cards_address_is_used(mirror: Path) -> None:
    with serving(Behaviour({"official.zip": (mirror / "ml-1m" / "ml-1m.zip").read_bytes()})) as web:
        file = SMALL.files[0].model_copy(update={"url": f"{web.url}/official.zip"})
        outcome = download(SMALL.model_copy(update={"files": [file]}), Listening())
    assert outcome.manifest["sources"][0]["from"] == file.url


def test_a_second_download_is_skipped_and_says_so(mirror: Path) -> None:
    download(SMALL, Listening(), str(mirror))
    listening = Listening()
    assert download(SMALL, listening, "/nowhere").status == "ready"
    assert listening.notes == ["ml-1m: already prepared (--force does it again)"]
    assert download(SMALL, Listening(), str(mirror), force=True).status == "prepared"


def test_the_official_file_is_believed_without_a_word(mirror: Path) -> None:
    archive = mirror / "ml-1m" / "ml-1m.zip"
    card = with_checksum(SMALL, fetch.checksum(archive, "md5"), archive.stat().st_size)
    listening = Listening()
    outcome = download(card, listening, str(mirror))
    assert outcome.manifest["sources"][0]["official"] is True
    assert outcome.manifest["warnings"] == listening.warnings == catalogue.load("ml-1m").unofficial == []


def test_another_file_with_the_right_counts_is_used_and_everybody_is_told(mirror: Path) -> None:
    listening = Listening()
    outcome = download(with_checksum(SMALL, "md5:" + "0" * 32, 77), listening, str(mirror))
    [warning] = listening.warnings
    assert "ml-1m.zip is not the official file (md5:" in warning
    assert "of 77 bytes); it is used because the counts of its contents are right" in warning
    manifest = json.loads((catalogue.prepared_folder("ml-1m") / "manifest.json").read_text())
    assert manifest == outcome.manifest
    assert manifest["warnings"] == [warning]
    assert manifest["sources"][0]["official"] is False
    assert manifest["sources"][0]["official_checksum"] == "md5:" + "0" * 32
    assert catalogue.load("ml-1m").unofficial == ["ml-1m.zip"]


def test_another_file_with_wrong_counts_is_refused_and_removed(mirror: Path, cache: Path) -> None:
    ml_1m(mirror / "ml-1m" / "ml-1m.zip", RATINGS[:-1], MOVIES)
    with pytest.raises(UsageError) as caught:
        download(with_checksum(SMALL, "md5:" + "0" * 32), Listening(), str(mirror))
    assert "expected 6 users, 5 items, 30 interactions; the files hold 6 users, 5 items, 29 inter" in str(caught.value)
    assert "ml-1m.zip is not the official file" in str(caught.value)
    assert files_under(cache) == []
    ml_1m(mirror / "ml-1m" / "ml-1m.zip", RATINGS, MOVIES)  # and the next attempt is not poisoned
    assert download(SMALL, Listening(), str(mirror)).status == "prepared"


def test_a_truncated_archive_is_refused_and_removed(mirror: Path, cache: Path) -> None:
    archive = mirror / "ml-1m" / "ml-1m.zip"
    archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(UsageError, match=r"ml-1m\.zip is truncated or damaged"):
        download(SMALL, Listening(), str(mirror))
    assert files_under(cache) == []


@pytest.mark.parametrize(("bad", "message"), [
    ("counts", r"wrong counts"), ("text", r"ml-1m\.zip is truncated or damaged"), ("half", r"truncated or damaged"),
])
def test_a_failed_repeat_leaves_what_was_there(mirror: Path, cache: Path, bad: str, message: str) -> None:
    download(SMALL, Listening(), str(mirror))
    before = {name: (cache / name).read_bytes() for name in files_under(cache)}
    archive = mirror / "ml-1m" / "ml-1m.zip"
    ml_1m(archive, RATINGS[:-1], MOVIES)
    if bad != "counts":
        archive.write_bytes(b"no archive" if bad == "text" else archive.read_bytes()[:300])
    with pytest.raises(UsageError, match=message):
        download(SMALL, Listening(), str(mirror), force=True)
    assert {name: (cache / name).read_bytes() for name in files_under(cache)} == before
    assert sorted(path.name for path in (cache / "raw" / "ml-1m").iterdir()) == ["ml-1m.zip", "ml-1m.zip.source.json"]


def test_an_unknown_checksum_is_recorded_and_then_pinned(mirror: Path) -> None:
    download(SMALL, Listening(), str(mirror))
    first = fetch.checksum(mirror / "ml-1m" / "ml-1m.zip")
    record = home() / "raw" / "ml-1m" / "ml-1m.zip.source.json"
    assert json.loads(record.read_text())["recorded"] == first
    ml_1m(mirror / "ml-1m" / "ml-1m.zip", RATINGS, MOVIES + "77::Extra::War\n")
    listening = Listening()
    download(SMALL, listening, str(mirror), force=True)
    assert "differs from the first download" in listening.warnings[0]
    assert json.loads(record.read_text())["recorded"] == first


def test_a_trusted_raw_file_is_not_fetched_again(mirror: Path) -> None:
    content = (mirror / "ml-1m" / "ml-1m.zip").read_bytes()
    with serving(Behaviour({"ml-1m/ml-1m.zip": content})) as web:
        first = download(SMALL, Listening(), web.url)
        (catalogue.prepared_folder("ml-1m") / "manifest.json").unlink()  # lost: prepared again from the raw file
        second = download(SMALL, Listening(), web.url)
    assert len(web.requests) == 1
    assert second.manifest == first.manifest  # it still tells where the file came from


def test_where_it_came_from_is_no_part_of_the_fingerprint(mirror: Path, tmp_path: Path) -> None:
    first = download(SMALL, Listening(), str(mirror)).manifest
    (tmp_path / "other.zip").write_bytes((mirror / "ml-1m" / "ml-1m.zip").read_bytes())
    second = download(SMALL, Listening(), str(tmp_path / "other.zip"), force=True).manifest
    assert first["sources"] != second["sources"]
    assert first["fingerprint"] == second["fingerprint"]


BEAUTY = small_card("amazon-beauty", 5, 5, 25)


def beauty_reviews(folder: Path) -> None:
    reviews(folder / "amazon-2014" / "reviews_Beauty_5.json.gz",
            ((f"U{user}", f"I{item}", 86_400 * item) for item in range(5) for user in range(5)))


def test_a_missing_optional_file_is_a_warning(tmp_path: Path) -> None:
    beauty_reviews(tmp_path)
    listening = Listening()
    outcome = download(BEAUTY, listening, str(tmp_path))
    assert listening.warnings == [f"amazon-beauty: meta_Beauty.json.gz is missing ({tmp_path} does not hold it), "
                                  "so the items have no category, brand"]
    assert outcome.manifest["attributes"] == []
    assert [entry["role"] for entry in outcome.manifest["sources"]] == ["reviews"]


def test_a_bad_file_costs_no_other_one(tmp_path: Path, cache: Path) -> None:
    beauty_reviews(tmp_path)
    download(BEAUTY, Listening(), str(tmp_path))
    (catalogue.prepared_folder("amazon-beauty") / "manifest.json").unlink()
    (tmp_path / "amazon-2014" / "meta_Beauty.json.gz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"meta_Beauty\.json\.gz is truncated or damaged .*reviews_Beauty_5\.json\.gz "
                                         "is of an earlier download: --force fetches it again"):
        download(BEAUTY, Listening(), str(tmp_path))
    assert [name for name in files_under(cache) if name.startswith("raw")] == [
        f"raw/amazon-2014/reviews_Beauty_5.json.gz{kind}" for kind in ("", ".source.json")]


def test_an_optional_file_that_the_server_lacks_is_a_warning(tmp_path: Path) -> None:
    beauty_reviews(tmp_path)
    name = "amazon-2014/reviews_Beauty_5.json.gz"
    listening = Listening()
    with serving(Behaviour({name: (tmp_path / name).read_bytes()})) as web:
        download(BEAUTY, listening, web.url)
    assert "the server answers 404" in listening.warnings[0]


def test_optional_files_bring_the_attributes(tmp_path: Path) -> None:
    beauty_reviews(tmp_path)
    gzipped(tmp_path / "amazon-2014" / "meta_Beauty.json.gz", ["{'asin': 'I0', 'categories': [['Beauty', 'Hair']]}"])
    assert download(BEAUTY, Listening(), str(tmp_path)).manifest["attributes"] == ["category", "brand"]


@pytest.mark.parametrize(("given", "message"), [
    ("absent", "absent does not exist: --from (or CPBENCH_MIRROR) takes a folder"),
    (".", "holds no ml-1m/ml-1m.zip (nor ml-1m.zip), which dataset 'ml-1m' needs"),
])
def test_a_mirror_without_the_file(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        download(SMALL, Listening(), str(tmp_path / given))
    assert message in str(caught.value)


def test_a_file_of_another_role_is_not_taken_for_the_required_one(tmp_path: Path) -> None:
    meta = gzipped(tmp_path / "meta_Beauty.json.gz", ["{}"])
    with pytest.raises(UsageError, match=r"holds no amazon-2014/reviews_Beauty_5\.json\.gz"):
        download(BEAUTY, Listening(), str(meta))


def test_a_cache_that_cannot_be_written(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(CpbenchError, match=r"cannot write .*; CPBENCH_HOME moves the data cache") as caught:
        download(SMALL, Listening(), str(mirror))
    assert caught.value.exit_code == 1


def test_a_full_disk_while_preparing(mirror: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    def full(*_: Any, **__: Any) -> None:
        raise pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(CpbenchError, match=r"cannot write .*ml-1m: No space left on device .*nothing was left behind"):
        download(SMALL, Listening(), str(mirror))
    assert [name for name in files_under(cache) if name.startswith("prepared")] == []
    assert not catalogue.is_ready("ml-1m")


def test_the_second_of_two_waits_and_says_so(mirror: Path) -> None:
    second = Listening()
    with locked("ml-1m", Listening()):
        thread = threading.Thread(target=download, args=(SMALL, second, str(mirror)))
        thread.start()
        while not second.notes:
            thread.join(0.01)
        assert second.notes == ["ml-1m: another process is working on it, waiting"]
        download_finished = not thread.is_alive()
    thread.join()
    assert not download_finished
    assert catalogue.is_ready("ml-1m")


def test_sizes_are_those_of_the_mirror_or_the_card(mirror: Path) -> None:
    file = SMALL.files[0]
    assert sources.size(SMALL, file, str(mirror), ask=False) == (mirror / "ml-1m" / "ml-1m.zip").stat().st_size
    beauty = cards()["amazon-beauty"]
    assert sources.size(beauty, beauty.files[0], None, ask=False) == 44_819_276
    assert sources.size(SMALL, file, None, ask=False) is None
    with serving(Behaviour({"ml-1m/ml-1m.zip": b"12345"})) as web:
        assert sources.size(SMALL, file, web.url, ask=True) == 5
