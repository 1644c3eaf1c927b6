"""A folder is replaced whole or not at all, also by a process that is killed or stopped by the disk on the way."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cpbench.errors import CpbenchError
from cpbench.files import atomic_folder, clear_leftovers, restore_folder

DIES = """
import os, shutil, sys
from pathlib import Path
from cpbench.files import atomic_folder

rename, calls = Path.rename, []
def counted(self, target):
    if len(calls) == {renames}:
        os._exit(9)
    calls.append(target)
    return rename(self, target)
Path.rename = counted
shutil.rmtree = lambda *_, **__: os._exit(9)
with atomic_folder(Path(sys.argv[1])) as temporary:
    (temporary / "content").write_text("new")
"""


def write(path: Path, text: str) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "content").write_text(text)


def killed_after(renames: int, path: Path) -> None:
    """A process that replaces `path` and dies after so many renames; after the last one, where it begins to delete."""
    done = subprocess.run([sys.executable, "-c", DIES.format(renames=renames), path])
    assert done.returncode == 9


@pytest.fixture(params=["plain", "odd[1]*"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    write(path, "old")
    return path


def test_a_kill_between_the_renames_loses_nothing(path: Path) -> None:
    killed_after(1, path)
    assert not path.exists()
    restore_folder(path)
    assert (path / "content").read_text() == "old"
    clear_leftovers(path)
    assert list(path.parent.iterdir()) == [path]


def test_whoever_writes_next_finds_the_old_folder_in_its_place(path: Path) -> None:
    killed_after(1, path)
    with pytest.raises(ZeroDivisionError), atomic_folder(path):
        assert (path / "content").read_text() == "old"
        raise ZeroDivisionError
    assert (path / "content").read_text() == "old"
    write(path, "newer")
    assert (path / "content").read_text() == "newer"


def test_leftovers_are_cleared_but_never_the_only_copy(path: Path) -> None:
    killed_after(0, path)  # nothing was moved yet
    killed_after(1, path)
    other = path.parent / f"{path.name}.other"
    write(other, "other")
    clear_leftovers(path)
    assert (path / "content").read_text() == "old"
    assert sorted(path.parent.iterdir()) == [path, other]


def test_a_folder_that_was_replaced_is_not_put_back(path: Path) -> None:
    killed_after(3, path)  # while it deleted the old one
    assert (path / "content").read_text() == "new"
    assert len(list(path.parent.iterdir())) == 2
    (path / "content").unlink()
    path.rmdir()  # by its owner
    restore_folder(path)
    assert not path.exists()


def test_the_newest_of_two_is_put_back(path: Path) -> None:
    for age, text in ((10, "newest"), (30, "oldest")):
        aside = path.parent / f".{path.name}.old.{age}" / "old"
        aside.mkdir(parents=True)
        (aside / "content").write_text(text)
        os.utime(aside.parent, (1e9 - age, 1e9 - age))
    restore_folder(path)
    assert (path / "content").read_text() == "old"  # it is there
    (path / "content").unlink()
    path.rmdir()
    restore_folder(path)
    assert (path / "content").read_text() == "newest"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_leaves_the_old_folder(path: Path, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = Path.rename, []

    def fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(CpbenchError, match=r"cannot write .*: No space left on device; nothing was left behind"):
        write(path, "new")
    assert (path / "content").read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
