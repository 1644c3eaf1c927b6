"""Reading members of zip and gzip archives, without unpacking anything to disk.

Nothing an archive says is believed: members are found by their exact name (so none can escape a folder),
and what comes out is limited, so that a small hostile file cannot fill the memory.
"""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from cpbench.errors import UsageError

FLOOR = 64 << 20
"""Bytes that any archive may unpack to."""
RATIO = 60
"""Above the floor, an archive may unpack to at most this many times its size (text packs 3 to 15 times)."""
CHUNK = 1 << 20

DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, RuntimeError)
"""RuntimeError: a member is encrypted, or packed by a method that Python does not know."""


def limit(archive: Path) -> int:
    """The most bytes that `archive` may unpack to."""
    return max(FLOOR, RATIO * archive.stat().st_size)


@contextmanager
def readable(archive: Path) -> Iterator[None]:
    """Turn what a broken archive raises into one sentence."""
    try:
        yield
    except DAMAGED as error:
        raise UsageError(f"{archive.name} is truncated or damaged ({error}): fetch it again "
                         "(`cpbench download ... --force`) or give a whole copy with --from") from error
    except OSError as error:
        raise UsageError(f"{archive} cannot be read: {error.strerror or error}") from error


def _drain(stream: BinaryIO, archive: Path) -> bytes:
    parts, total, most = [], 0, limit(archive)
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        if total > most:
            raise UsageError(f"{archive.name} unpacks to more than {most:,} bytes: refused as a decompression bomb")
        parts.append(chunk)
    return b"".join(parts)


def member(archive: Path, name: str) -> bytes:
    """The bytes of the member `name` (e.g. ``ml-1m/ratings.dat``) of a zip archive.

    Raises UsageError when the archive is damaged, unpacks too large, or lacks the member.
    """
    with readable(archive), zipfile.ZipFile(archive) as opened:
        try:
            info = opened.getinfo(name)
        except KeyError:
            raise UsageError(f"{archive.name} has no member {name!r}: this is not the official archive") from None
        with opened.open(info) as stream:
            return _drain(cast(BinaryIO, stream), archive)


def gunzip(archive: Path) -> bytes:
    """The content of a gzip file. Raises UsageError when it is damaged or unpacks too large."""
    with readable(archive), gzip.open(archive, "rb") as stream:
        return _drain(cast(BinaryIO, stream), archive)


def gzip_lines(archive: Path) -> Iterator[bytes]:
    """The lines of a gzip file, one at a time. Raises UsageError when it is damaged or unpacks too large."""
    total, most = 0, limit(archive)
    with readable(archive), gzip.open(archive, "rb") as stream:
        while line := stream.readline(most):
            total += len(line)
            if total > most:
                raise UsageError(f"{archive.name} unpacks to more than {most:,} bytes: refused as a decompression bomb")
            yield line
