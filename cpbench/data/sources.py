"""Where the files of a card come from, and what is known about each: checksum, size, official or not.

A raw file lies in the cache at the place that its card names (``raw/GROUP/NAME``). One that was fetched waits in
``.NAME.new`` until it is accepted, so that a bad file never takes the place of a good one. Beside it,
``NAME.source.json`` records where it came from and its checksum, once the counts of its contents were found right:
where no official checksum is known, this record is what later downloads are held against.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cpbench.data import fetch
from cpbench.data.card import Card, SourceFile
from cpbench.errors import UsageError
from cpbench.files import home, write_json

UNKNOWN: Literal["unknown"] = "unknown"


@dataclass(frozen=True)
class Source:
    """One raw file in the cache, as the manifest tells it."""

    file: SourceFile
    path: Path
    origin: str
    """The URL or path that the user, the mirror or the card named."""
    bytes: int
    checksum: str
    recorded: str | None
    """The checksum of the first download, where no official one is known."""

    @property
    def official(self) -> bool | Literal["unknown"]:
        """Whether this is the official file; "unknown" where no official checksum is known."""
        return UNKNOWN if self.file.checksum is None else self.checksum == self.file.checksum

    @property
    def trusted(self) -> bool:
        """The official file, or the very one whose contents were found right before."""
        return self.checksum in (self.file.checksum, self.recorded)

    def complaint(self) -> str | None:
        """What a reader must know about this file; None when it is the official one, or nothing speaks against it."""
        if self.official is False:
            size = "" if self.file.bytes in (None, self.bytes) else f", {self.bytes:,} of {self.file.bytes:,} bytes"
            return (f"{self.file.name} is not the official file ({_short(self.checksum)}, officially "
                    f"{_short(self.file.checksum)}{size})")
        if self.official == UNKNOWN and self.recorded not in (None, self.checksum):
            return (f"{self.file.name} differs from the first download ({_short(self.checksum)}, then "
                    f"{_short(self.recorded)})")
        return None

    def entry(self) -> dict[str, Any]:
        """The manifest's entry; a password in an address is not kept."""
        origin = re.sub(r"(?<=://)[^/@]+@", "", self.origin)
        return {"role": self.file.role, "file": self.file.name, "from": origin, "bytes": self.bytes,
                "checksum": self.checksum, "official_checksum": self.file.checksum, "official": self.official}

    def accept(self) -> "Source":
        """Put this file into its place, and remember it; the checksum of the first download stays.

        Raises CpbenchError when it cannot be put there.
        """
        place = raw_path(self.file)
        if self.path != place:
            with fetch.writing(place):
                self.path.replace(place)
        write_json(_record_path(place), {**self.entry(), "recorded": self.recorded or self.checksum})
        return replace(self, path=place)


def _short(checksum: str | None) -> str:
    """Enough of a checksum to compare by eye; the manifest has all of it."""
    return f"{checksum or UNKNOWN:.19}..."


def raw_path(file: SourceFile) -> Path:
    return home() / "raw" / file.mirror


def staged_path(file: SourceFile) -> Path:
    """Where `file` is fetched to; it keeps its name, by which readers call it."""
    path = raw_path(file)
    return path.parent / f".{path.name}.new" / path.name


def discard(file: SourceFile) -> None:
    """Remove what was fetched and not accepted; the part of a download that can go on stays."""
    with suppress(OSError):
        staged_path(file).unlink(missing_ok=True)
        staged_path(file).parent.rmdir()


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".source.json")


def describe(file: SourceFile, path: Path, origin: str | None = None) -> Source:
    """What is known about the raw file at `path`; without `origin`, it came from where its record says."""
    try:
        record = dict(json.loads(_record_path(raw_path(file)).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        record = {}
    algorithm = (file.checksum or "sha256").partition(":")[0]
    return Source(file, path, origin or record.get("from", file.url), path.stat().st_size,
                  fetch.checksum(path, algorithm), record.get("recorded"))


def locate(card: Card, file: SourceFile, given: str | None) -> str | None:
    """The URL or path to take `file` from; None when `given` (a mirror, a folder, one file) does not hold it.

    `given` is a folder laid out as GROUP/NAME (or holding the files themselves), the address of such a folder, or
    the file itself. Without it, the official URL. Raises UsageError when `given` does not exist.
    """
    if given is None:
        return file.url
    if fetch.is_url(given):
        if given.rpartition("/")[2] in {other.name for other in card.files}:
            return given if given.endswith(f"/{file.name}") else None
        return f"{given.rstrip('/')}/{file.mirror}"
    path = Path(given).expanduser()
    if path.is_dir():
        return next((str(place) for place in (path / file.mirror, path / file.name) if place.is_file()), None)
    if not path.exists():
        raise UsageError(f"{given} does not exist: --from (or CPBENCH_MIRROR) takes a folder laid out as GROUP/NAME, "
                         "a file, or an http(s) address")
    named = next((other for other in card.files if other.name == path.name), None)
    # a renamed archive is still unambiguous where the card needs only one file
    required = [other for other in card.files if not other.optional]
    return str(path) if file == (named or (required[0] if len(required) == 1 else None)) else None


def size(card: Card, file: SourceFile, given: str | None, ask: bool) -> int | None:
    """Bytes to fetch for `file`; None when they are not known. `ask` the server where the card does not say."""
    origin = locate(card, file, given)
    if origin is None:
        return 0 if file.optional else None
    if not fetch.is_url(origin):
        return Path(origin).stat().st_size
    return file.bytes or (fetch.remote_size(origin) if ask else None)
