"""Where things live, and how a file is written: whole or not at all."""

import glob
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpbench.errors import CpbenchError

RESULTS = Path("results")
"""The folder of the run records, where no other is named."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that would steer a terminal instead of being shown; no argument, and so no record, has one."""
RETIRED = ".old."  # within the name of the folder in which an old folder waits until the new one is in its place


def home() -> Path:
    """The data cache: ``$CPBENCH_HOME``, or the user's cache folder."""
    configured = os.environ.get("CPBENCH_HOME")
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "cpbench"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it into place only when the block succeeds.

    Raises CpbenchError when the folder cannot be written or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise CpbenchError(f"cannot write {path}: {error.strerror or error}; nothing was left behind") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it replaces `path` only when the block succeeds.

    A process that is killed while it replaces `path` leaves the old folder aside: see `restore_folder`, which is done
    here first. Raises CpbenchError when the parent cannot be written or the disk is full.
    """
    temporary: Path | None = None
    retired: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        restore_folder(path)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{path.name}{RETIRED}", dir=path.parent))
            path.rename(retired / "old")
        temporary.rename(path)
        if retired is not None:
            retired.rename(temporary)  # never to be put back, not even what is left of it when deleting is cut short
    except OSError as error:
        raise CpbenchError(f"cannot write {path}: {error.strerror or error}; nothing was left behind") from error
    finally:
        if retired is not None:
            restore_folder(path)
            shutil.rmtree(retired, ignore_errors=True)
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Where a killed process had set the folder `path` aside and not yet replaced it, put it back.

    To be called before looking whether `path` is there. Raises CpbenchError when it cannot be put back.
    """
    if path.exists():
        return
    aside = path.parent.glob(f".{glob.escape(path.name)}{RETIRED}*/old")
    for old in sorted(aside, key=lambda old: old.parent.stat().st_mtime_ns)[-1:]:  # the newest
        try:
            old.rename(path)
            old.parent.rmdir()
        except OSError as error:
            if not path.exists():  # else another process was quicker
                raise CpbenchError(f"cannot put {old} back to {path}: {error.strerror or error}") from error


def clear_leftovers(path: Path) -> None:
    """Delete the folders that killed processes left beside `path`, once `path` itself is back in its place.

    Only while no other process can write `path`. Raises CpbenchError when it cannot be put back.
    """
    restore_folder(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)


def finite(value: Any) -> Any:
    """NaN and infinity are not JSON: they become null.

    >>> finite({"lift": [0.5, float("nan")]})
    {'lift': [0.5, None]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_json(path: Path, document: Any) -> None:
    """Write `document` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
