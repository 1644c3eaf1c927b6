import errno
from pathlib import Path

import pytest

from cpbench.errors import CpbenchError
from cpbench.report.publish import publish


def test_on_a_full_disk_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str, encoding: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CpbenchError, match=r"cannot write the report into .*made: No space left on device; nothing"):
        publish(("markdown",), [], [], tmp_path, tmp_path / "made")
    assert not list((tmp_path / "made").iterdir())
