"""From a card to a prepared dataset: fetch, verify, prepare, and put it in place.

Trust: a file is believed when its checksum is the official one; any other file only when the counts of its contents
are the card's, and then the terminal and the manifest say so. One dataset is worked on by one process at a time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from cpbench.data import catalogue, fetch, sources
from cpbench.data.card import Card, SourceFile
from cpbench.data.dataset import Dataset
from cpbench.data.prepare import prepare
from cpbench.data.sources import Source
from cpbench.errors import CpbenchError, UsageError
from cpbench.files import home


class Listener(Protocol):
    """Whoever watches a download."""

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def advance(self, file: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of `file` have arrived."""


@dataclass(frozen=True)
class DatasetOutcome:
    """What became of one name: "prepared" now, or "ready" before."""

    name: str
    status: str
    manifest: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


@contextmanager
def locked(name: str, listener: Listener) -> Iterator[None]:
    """Hold the dataset `name` against other processes; wait, and say so, while another one holds it."""
    path = home() / "locks" / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            listener.note(f"{name}: another process is working on it, waiting")
            lock.acquire()
    except OSError as error:
        raise CpbenchError(f"cannot write {path}: {error.strerror or error}; CPBENCH_HOME moves the data cache"
                           ) from error
    try:
        yield
    finally:
        lock.release()


def download(card: Card, listener: Listener, given: str | None = None, force: bool = False) -> DatasetOutcome:
    """Make the dataset of `card` ready. `given`: a mirror, folder or file instead of the official addresses.

    Raises UsageError for wrong or damaged contents, CpbenchError when something cannot be fetched or written.
    """
    with locked(card.name, listener):
        if catalogue.is_ready(card.name) and not force:
            listener.note(f"{card.name}: already prepared (--force does it again)")
            return DatasetOutcome(card.name, "ready", catalogue.manifest(card.name))
        try:
            found, warnings = _collect(card, listener, given, force)
            dataset = _prepare(card, found, listener)
            for source in found:
                if complaint := source.complaint():
                    why = ("item attributes rest on it, counts do not" if source.file.optional
                           else "it is used because the counts of its contents are right")
                    warnings.append(f"{card.name}: {complaint}; {why}")
                source.accept()
        finally:
            for file in card.files:
                sources.discard(file)
        dataset.manifest.update(kind=card.kind, sources=[source.entry() for source in found], warnings=warnings)
        dataset.save(catalogue.prepared_folder(card.name))
    for warning in warnings:
        listener.warn(warning)
    return DatasetOutcome(card.name, "prepared", catalogue.manifest(card.name), warnings)


def _collect(card: Card, listener: Listener, given: str | None, force: bool) -> tuple[list[Source], list[str]]:
    """The raw files in the cache, and a warning for each optional one that is not to be had."""
    found, warnings = [], []
    for file in card.files:
        origin = sources.locate(card, file, given)
        if origin is None and not file.optional:
            raise UsageError(f"{given} holds no {file.mirror} (nor {file.name}), which dataset {card.name!r} needs")
        try:
            source = None if origin is None else _obtain(file, origin, listener, force)
            reason = f"{given} does not hold it"
        except CpbenchError as error:
            if not file.optional:
                raise
            source, reason = None, str(error)
        if source is not None:
            found.append(source)
        else:
            warnings.append(f"{card.name}: {file.name} is missing ({reason}), so the items have no "
                            f"{', '.join(card.attributes)}")
    return found, warnings


def _obtain(file: SourceFile, origin: str, listener: Listener, force: bool) -> Source:
    """The raw file, from the cache where a trusted one lies there, else from `origin`: then it is yet to be accepted.

    The official file is accepted at once.
    """
    path = sources.raw_path(file)
    if path.is_file():
        source = sources.describe(file, path)
        if source.official is True or (source.trusted and not force):
            listener.note(f"{file.name}: already in the cache")
            return source
    started, path = time.monotonic(), sources.staged_path(file)

    def advance(done: int, total: int | None) -> None:
        listener.advance(file.name, done, total)

    if fetch.is_url(origin):
        fetch.download(origin, path, advance, listener.note)
    else:
        fetch.copy(Path(origin), path, advance)
    seconds = max(time.monotonic() - started, 1e-3)
    source = sources.describe(file, path, origin)
    listener.note(f"{file.name}: {source.bytes / 1e6:,.1f} MB in {seconds:,.1f} s "
                  f"({source.bytes / 1e6 / seconds:,.1f} MB/s) from {origin}")
    return source.accept() if source.official is True else source


def _prepare(card: Card, found: list[Source], listener: Listener) -> Dataset:
    started = time.monotonic()
    try:
        dataset = prepare(card, {source.file.role: source.path for source in found})
    except UsageError as error:
        complaints = [text for source in found if (text := source.complaint())]
        complaints += [f"{source.path} is of an earlier download: --force fetches it again" for source in found
                       if source.official is not True and source.path == sources.raw_path(source.file)]
        raise UsageError("; ".join([str(error), *complaints])) from error
    listener.note(f"{card.name}: prepared in {time.monotonic() - started:.1f} s")
    return dataset
