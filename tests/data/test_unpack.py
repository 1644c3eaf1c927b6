"""Archives are believed in nothing: names, sizes, wholeness."""

import gzip
import zipfile
from pathlib import Path

import pytest

from cpbench.data import unpack
from cpbench.errors import UsageError
from tests.data.official import zipped


def test_members_are_found_by_their_exact_name(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"ml-1m/ratings.dat": "right", "../ratings.dat": "wrong", "/etc/x": "wrong"})
    assert unpack.member(archive, "ml-1m/ratings.dat") == b"right"
    with pytest.raises(UsageError, match=r"a\.zip has no member 'ratings\.dat': this is not the official archive"):
        unpack.member(archive, "ratings.dat")


def test_nothing_is_ever_written_next_to_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    archive = zipped(folder / "a.zip", {"../escaped.txt": "x", "wanted": "y"})
    unpack.member(archive, "wanted")
    unpack.member(archive, "../escaped.txt")  # read in memory, whatever it is called
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["a.zip", "inside"]


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "FLOOR", 1 << 20)
    archive = zipped(tmp_path / "bomb.zip", {"x": b"0" * (8 << 20)})
    assert archive.stat().st_size < 20_000
    with pytest.raises(UsageError, match="unpacks to more than 1,048,576 bytes: refused"):
        unpack.member(archive, "x")


def test_a_zip_that_lies_about_its_size_is_still_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "FLOOR", 1 << 20)
    archive = zipped(tmp_path / "bomb.zip", {"x": b"0" * (8 << 20)})
    content = archive.read_bytes().replace((8 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged|refused"):
        unpack.member(archive, "x")


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "FLOOR", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * (8 << 20)))
    with pytest.raises(UsageError, match="decompression bomb"):
        unpack.gunzip(path)
    with pytest.raises(UsageError, match="decompression bomb"):
        list(unpack.gzip_lines(path))


def test_many_short_lines_are_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "FLOOR", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0\n" * (4 << 20)))
    with pytest.raises(UsageError, match="decompression bomb"):
        for _ in unpack.gzip_lines(path):
            pass


def test_ordinary_text_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"one\ntwo"))
    assert unpack.gunzip(path) == b"one\ntwo"
    assert list(unpack.gzip_lines(path)) == [b"one\n", b"two"]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_a_truncated_zip(tmp_path: Path, keep: float) -> None:
    archive = zipped(tmp_path / "a.zip", {"x": "content " * 1000})
    content = archive.read_bytes()
    archive.write_bytes(content[:int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(UsageError, match=r"a\.zip is truncated or damaged .*fetch it again"):
        unpack.member(archive, "x")


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_gzip(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.gz"
    whole = gzip.compress(bytes(range(256)) * 100)
    path.write_bytes(whole[:int(keep * len(whole))])
    with pytest.raises(UsageError, match=r"a\.gz is truncated or damaged"):
        unpack.gunzip(path)
    with pytest.raises(UsageError, match=r"a\.gz is truncated or damaged"):
        list(unpack.gzip_lines(path))


def test_a_tampered_member_fails_its_checksum(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("x", "original content")
    archive.write_bytes(archive.read_bytes().replace(b"original", b"0riginal"))
    with pytest.raises(UsageError, match=r"truncated or damaged.*CRC"):
        unpack.member(archive, "x")


def test_something_else_than_gzip(tmp_path: Path) -> None:
    path = tmp_path / "page.gz"
    path.write_text("<html>not found</html>")
    with pytest.raises(UsageError, match=r"page\.gz is truncated or damaged"):
        unpack.gunzip(path)


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.zip cannot be read: No such file"):
        unpack.member(tmp_path / "a.zip", "x")
