import errno
from pathlib import Path

import pytest

from cpbench.errors import CpbenchError
from cpbench.report.publish import as_text, publish
from cpbench.report.tables import comparison_tables
from tests.report.records import record, runs
from tests.report.test_page import ablation


def test_on_a_full_disk_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str, encoding: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CpbenchError, match=r"cannot write the report into .*made: No space left on device; nothing"):
        publish(("markdown",), [], [], tmp_path, tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_a_page_without_the_model_of_the_ablations_shows_none(tmp_path: Path) -> None:
    ablation(tmp_path / "ablations" / "tamip" / "tiny")
    pages = [as_text("html", comparison_tables(runs([record(model)]))[0], [], tmp_path)
             for model in ("climber-pilot", "sasrec")]
    assert ["It helps." in page for page in pages] == [True, False]
