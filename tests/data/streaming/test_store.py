"""Generated once, written whole, made anew when it is not what the configuration gives."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cpbench.data.streaming import load_or_generate, store
from cpbench.errors import CpbenchError
from tests.data.streaming.tiny import TINY


def test_the_second_call_reads_what_the_first_wrote(tmp_path, monkeypatch):
    made = load_or_generate(tmp_path / "streaming", TINY)
    monkeypatch.setattr(store, "generate", lambda config: pytest.fail("generated again"))
    read = load_or_generate(tmp_path / "streaming", TINY)
    assert read.fingerprint == made.fingerprint
    assert read.items.tolist() == made.items.tolist()
    assert read.offsets.tolist() == made.offsets.tolist()
    assert read.signals.columns == ["like"]
    assert read.attribute_names == ["genre", "language"]
    assert read.manifest["exclude_seen"] is False
    assert [path.name for path in tmp_path.iterdir()] == ["streaming"]


def test_another_configuration_or_version_is_generated_anew(tmp_path, monkeypatch):
    first = load_or_generate(tmp_path / "streaming", TINY)
    other = TINY.model_copy(update={"seed": 9})
    assert load_or_generate(tmp_path / "streaming", other).fingerprint != first.fingerprint
    assert load_or_generate(tmp_path / "streaming", TINY).fingerprint == first.fingerprint
    monkeypatch.setattr(store, "VERSION", store.VERSION + 1)
    assert load_or_generate(tmp_path / "streaming", TINY).manifest["simulator"]["version"] == store.VERSION


@pytest.mark.parametrize("damaged", ["manifest.json", "interactions.parquet", "truth.npz"])
def test_a_damaged_folder_is_generated_anew(tmp_path, damaged):
    first = load_or_generate(tmp_path / "streaming", TINY)
    path = tmp_path / "streaming" / damaged
    path.unlink() if damaged == "truth.npz" else path.write_bytes(path.read_bytes()[:50])
    assert load_or_generate(tmp_path / "streaming", TINY).fingerprint == first.fingerprint
    assert path.stat().st_size > 50


SCRIPT = """
import sys
from pathlib import Path
from cpbench.data.streaming import load_or_generate
from tests.data.streaming.tiny import TINY
print(load_or_generate(Path(sys.argv[1]), TINY).fingerprint)
"""


def test_processes_may_generate_at_once(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "streaming")]
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True), range(3)))
    assert [run.returncode for run in runs] == [0, 0, 0], [run.stderr for run in runs]
    assert len({run.stdout for run in runs}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["streaming"]


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(CpbenchError, match="cannot write"):
        load_or_generate(blocker / "streaming", TINY)


@pytest.mark.skipif(os.name != "posix", reason="renames over a directory behave so on POSIX")
def test_losing_the_race_is_no_error(tmp_path, monkeypatch):
    folder = tmp_path / "streaming"
    slow = store.generate

    def overtaken(config):
        monkeypatch.setattr(store, "generate", slow)
        load_or_generate(folder, config)  # another process finishes first
        return slow(config)

    monkeypatch.setattr(store, "generate", overtaken)
    assert load_or_generate(folder, TINY).fingerprint == load_or_generate(folder, TINY).fingerprint
