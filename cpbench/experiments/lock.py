"""One process at a time on one run folder; a lock dies with the process that holds it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cpbench.errors import CpbenchError


@contextmanager
def only_one(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of `folder` (which need not exist); waits, and says so, while another process holds it.

    Raises CpbenchError where nothing can be written.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("another process is at work on this run: waiting for it")
            lock.acquire(poll_interval=0.2)
    except OSError as error:
        raise CpbenchError(f"cannot write {folder.parent}: {error.strerror or error}") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while held: whoever waits looks the path up again
        lock.release()
