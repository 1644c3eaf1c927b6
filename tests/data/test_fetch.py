"""Fetching over HTTP: resumed, retried, never half-written."""

import errno
import random
from pathlib import Path

import pytest

from cpbench.data import fetch
from cpbench.errors import CpbenchError, UsageError
from tests.data.server import Behaviour, serving

CONTENT = random.Random(1).randbytes(700_000)


def fetched(behaviour: Behaviour, target: Path) -> list[str]:
    """Fetch `f.zip`; what the user was told."""
    told: list[str] = []
    fetch.download(f"{behaviour.url}/f.zip", target, lambda *_: None, told.append, pause=lambda _: None)
    return told


def test_a_file_arrives_whole_and_progress_counts_its_bytes(tmp_path: Path) -> None:
    target, seen = tmp_path / "deep" / "f.zip", []
    with serving(Behaviour({"f.zip": CONTENT})) as web:
        fetch.download(f"{web.url}/f.zip", target, lambda done, total: seen.append((done, total)), print)
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [entry.name for entry in target.parent.iterdir()] == ["f.zip"]


def test_a_broken_connection_is_continued_not_restarted(tmp_path: Path) -> None:
    with serving(Behaviour({"f.zip": CONTENT}, cut_after=[300_000, 100_000])) as web:
        told = fetched(web, tmp_path / "f.zip")
    assert (tmp_path / "f.zip").read_bytes() == CONTENT
    assert [wanted for _, wanted in web.requests] == [None, "bytes=300000-", "bytes=400000-"]
    assert len(told) == 2
    assert all("trying again in 1 s" in text for text in told)


def test_an_interrupted_download_is_continued_by_the_next_one(tmp_path: Path) -> None:
    target = tmp_path / "f.zip"

    def interrupt(done: int, _: int | None) -> None:
        if done > 200_000:
            raise KeyboardInterrupt

    with serving(Behaviour({"f.zip": CONTENT})) as web:
        with pytest.raises(KeyboardInterrupt):
            fetch.download(f"{web.url}/f.zip", target, interrupt, print)
        assert not target.exists()
        fetched(web, target)
    assert target.read_bytes() == CONTENT
    assert web.requests[1][1] is not None


def test_a_file_that_changed_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    newer = CONTENT[::-1]
    with serving(Behaviour({"f.zip": CONTENT}, cut_after=[300_000])) as web:
        def swap(_: float) -> None:
            web.content["f.zip"], web.etag = newer, '"two"'

        fetch.download(f"{web.url}/f.zip", tmp_path / "f.zip", lambda *_: None, print, pause=swap)
    assert (tmp_path / "f.zip").read_bytes() == newer


def test_part_of_another_address_is_not_continued(tmp_path: Path) -> None:
    with serving(Behaviour({"f.zip": CONTENT, "other/f.zip": CONTENT[::-1]}, cut_after=[300_000])) as web:
        def give_up(_: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch.download(f"{web.url}/other/f.zip", tmp_path / "f.zip", lambda *_: None, print, pause=give_up)
        fetched(web, tmp_path / "f.zip")
    assert (tmp_path / "f.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("behaviour", [
    Behaviour({"f.zip": CONTENT}, ranges=False, cut_after=[300_000]),
    Behaviour({"f.zip": CONTENT}, etag=None, cut_after=[300_000]),
    Behaviour({"f.zip": CONTENT}, etag='W/"weak"', cut_after=[300_000]),
], ids=["no ranges", "no validator", "weak validator"])
def test_a_server_that_cannot_continue_is_asked_from_the_start(tmp_path: Path, behaviour: Behaviour) -> None:
    with serving(behaviour) as web:
        fetched(web, tmp_path / "f.zip")
    assert (tmp_path / "f.zip").read_bytes() == CONTENT


def test_a_complete_part_is_asked_anew(tmp_path: Path) -> None:
    """Killed between the last byte and the renaming: the server answers 416 to the rest of nothing."""
    with serving(Behaviour({"f.zip": CONTENT})) as web:
        (tmp_path / ".f.zip.part").write_bytes(CONTENT)
        (tmp_path / ".f.zip.part.json").write_text(f'{{"url": "{web.url}/f.zip", "validator": "\\"one\\""}}')
        fetched(web, tmp_path / "f.zip")
    assert (tmp_path / "f.zip").read_bytes() == CONTENT


def test_gzip_is_stored_as_it_is_sent(tmp_path: Path) -> None:
    """Some servers declare .gz files as Content-Encoding: gzip; clients that obey store the unpacked text."""
    with serving(Behaviour({"f.zip": CONTENT}, headers={"Content-Encoding": "gzip"})) as web:
        fetched(web, tmp_path / "f.zip")
    assert (tmp_path / "f.zip").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    with serving(Behaviour({"f.zip": CONTENT}, failures=[503, 429])) as web:
        told = fetched(web, tmp_path / "f.zip")
    assert "503" in told[0]
    assert (tmp_path / "f.zip").read_bytes() == CONTENT


def test_patience_ends(tmp_path: Path) -> None:
    with serving(Behaviour({"f.zip": CONTENT}, failures=[500] * 9)) as web, \
            pytest.raises(CpbenchError, match=r"cannot fetch http.*500.*--from or CPBENCH_MIRROR"):
        fetched(web, tmp_path / "f.zip")
    assert len(web.requests) == fetch.ATTEMPTS
    assert not (tmp_path / "f.zip").exists()


def test_not_found_is_final(tmp_path: Path) -> None:
    with serving(Behaviour({})) as web, pytest.raises(CpbenchError, match="the server answers 404"):
        fetched(web, tmp_path / "f.zip")
    assert len(web.requests) == 1


@pytest.mark.parametrize(("url", "reason"), [("http://127.0.0.1:1/f.zip", "refused"),
                                             ("http://no-such-host.invalid/f.zip", "no network")])
def test_no_network(tmp_path: Path, url: str, reason: str) -> None:
    with pytest.raises(CpbenchError, match=rf"cannot fetch .*{reason}.*check the network") as caught:
        fetch.download(url, tmp_path / "f.zip", lambda *_: None, lambda _: None, pause=lambda _: None)
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a usable address"):
        fetch.download("http://", tmp_path / "f.zip", lambda *_: None, print)


def full(_done: int, _total: int | None) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_while_fetching(tmp_path: Path) -> None:
    with serving(Behaviour({"f.zip": CONTENT})) as web, \
            pytest.raises(CpbenchError, match=r"cannot write .*No space left on device; free space"):
        fetch.download(f"{web.url}/f.zip", tmp_path / "f.zip", full, print)
    assert not (tmp_path / "f.zip").exists()


def test_a_full_disk_while_copying(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    with pytest.raises(CpbenchError, match=r"No space left on device; nothing was left behind"):
        fetch.copy(tmp_path / "source", tmp_path / "f.zip", full)
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent cannot be read: No such file"):
        fetch.copy(tmp_path / "absent", tmp_path / "f.zip", lambda *_: None)


def test_checksums() -> None:
    assert fetch.checksum(Path("/dev/null")) == "sha256:" + (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert fetch.checksum(Path("/dev/null"), "md5") == "md5:d41d8cd98f00b204e9800998ecf8427e"


def test_the_size_is_what_the_server_says(tmp_path: Path) -> None:
    with serving(Behaviour({"f.zip": CONTENT})) as web:
        assert fetch.remote_size(f"{web.url}/f.zip") == len(CONTENT)
    assert fetch.remote_size("http://127.0.0.1:1/f.zip") is None
