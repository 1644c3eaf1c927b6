"""One file from a URL or a local path to its place: resumed, retried, and put there whole or not at all.

`requests` is used directly because resuming needs to see the answer's status: 206 continues the file, 200 starts it
again. The part that has arrived lies beside the final place as ``.NAME.part``, with the address it came from and the
server's validator (ETag or Last-Modified) in ``.NAME.part.json``, so that a file that changed meanwhile is never
mixed with its older self.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cpbench import __version__
from cpbench.errors import CpbenchError, UsageError
from cpbench.files import atomic_file, write_json

CHUNK = 1 << 18
ATTEMPTS = 4
"""Tries without a single new byte before giving up."""
TIMEOUT = (10, 60)
"""Seconds to connect, and between two packets."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Statuses that may be gone at the next try."""

Advance = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and their total (None: not known)."""


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """``ALGORITHM:HEX`` of a file."""
    with reading(path), path.open("rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def copy(source: Path, target: Path, advance: Advance) -> None:
    """Copy a local file into its place.

    Raises UsageError when it cannot be read, CpbenchError when it cannot be written.
    """
    with reading(source):
        total = source.stat().st_size
        stream = source.open("rb")
    with stream, atomic_file(target) as temporary, temporary.open("wb") as written:
        while chunk := stream.read(CHUNK):
            written.write(chunk)
            advance(written.tell(), total)


def download(url: str, target: Path, advance: Advance, note: Callable[[str], None],
             pause: Callable[[float], None] = time.sleep) -> None:
    """Fetch `url` into `target`, going on from what an interrupted download left.

    Failures that may pass (no connection, a broken one, a busy server) are tried again after 1, 2 and 4 seconds,
    and `note` is told; every new byte renews the patience. Raises CpbenchError when the file cannot be fetched or
    written.
    """
    import requests

    part = target.with_name(f".{target.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _transfer(url, part, advance)
            break
        except requests.HTTPError as error:
            assert error.response is not None  # raise_for_status always names the answer
            reason = f"the server answers {error.response.status_code} {error.response.reason}"
            if error.response.status_code not in PASSING:
                raise CpbenchError(f"cannot fetch {url}: {reason}; give another place with --from or CPBENCH_MIRROR"
                                   ) from None
        except requests.exceptions.InvalidURL as error:
            raise UsageError(f"{url} is not a usable address: {error}") from None
        except requests.RequestException as error:
            reason = _reason(error)
        except OSError as error:  # requests' own failures are OSErrors too, and were caught above
            raise CpbenchError(f"cannot write {part}: {error.strerror or error}; free space or fix the folder, "
                               "the same command goes on where it stopped") from error
        failures = 1 if _size(part) > before else failures + 1
        if failures >= ATTEMPTS:
            raise CpbenchError(f"cannot fetch {url} ({reason}); check the network, or give a copy with --from or "
                               "CPBENCH_MIRROR; the same command goes on where it stopped")
        seconds = 2 ** (failures - 1)
        note(f"{target.name}: {reason}; trying again in {seconds} s")
        pause(seconds)
    with writing(target):
        part.replace(target)
        _validator(part).unlink(missing_ok=True)


def remote_size(url: str) -> int | None:
    """What the server says the file measures; None when it does not say, or there is no network."""
    import requests

    with suppress(requests.RequestException, ValueError):
        answer = requests.head(url, headers=_headers(), timeout=5, allow_redirects=True)
        if answer.ok and "Content-Length" in answer.headers:
            return int(answer.headers["Content-Length"])
    return None


def _transfer(url: str, part: Path, advance: Advance) -> None:
    """One request: append to `part`, or start it again where the server cannot go on."""
    import requests
    import urllib3

    part.parent.mkdir(parents=True, exist_ok=True)
    headers = _headers()
    have = _size(part)
    known = _known(part)
    if have and known.get("url") == url and known.get("validator"):
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing lies beyond what we have: the file changed or is complete; ask anew
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the server cannot continue this file")
        answer.raise_for_status()
        continued = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status_code == 206 and not continued:
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the server sent another part than the one asked for")
        have = have if continued else 0
        rest = answer.headers.get("Content-Length")
        total = have + int(rest) if rest and rest.isdigit() else None
        if not continued:
            validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            # a weak validator only promises equivalent content, not equal bytes
            write_json(_validator(part), {"url": url, "validator": None if (validator or "").startswith("W/")
                                          else validator})
        with part.open("ab" if continued else "wb") as written:
            try:
                # raw bytes: a server's Content-Encoding must not unpack the .gz that was asked for
                for chunk in answer.raw.stream(CHUNK, decode_content=False):
                    written.write(chunk)
                    have += len(chunk)
                    advance(have, total)
            except urllib3.exceptions.HTTPError as error:
                raise requests.ConnectionError(error) from error
        if total is not None and have != total:
            raise requests.ConnectionError(f"the connection ended after {have:,} of {total:,} bytes")


def _headers() -> dict[str, str]:
    return {"User-Agent": f"cpbench/{__version__}", "Accept-Encoding": "identity"}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _validator(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _known(part: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_validator(part).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


@contextmanager
def writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CpbenchError(f"cannot write {target}: {error.strerror or os.strerror(error.errno or 0)}") from error


def _reason(error: Exception) -> str:
    """The innermost cause in a few words: urllib3 wraps it several times."""
    import urllib3

    cause: Any = error
    while inner := (getattr(cause, "reason", None) or next((a for a in cause.args if isinstance(a, Exception)), None)):
        if not isinstance(inner, Exception):
            break
        cause = inner
    text = str(cause)
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return "the host's name cannot be resolved: no network?"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return "no connection: " + text.rpartition(": ")[2]
    return text
