"""Real `cpbench` processes, each with a cache of its own."""

import os
import subprocess
import sys
from pathlib import Path

TIMEOUT = 120


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CPBENCH_")}
    return {**kept, "CPBENCH_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200", **extra}


def cpbench(home: Path, *arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run to the end. Folders that are not given are those of `home`."""
    return subprocess.run([sys.executable, "-m", "cpbench", *map(str, arguments)], env=environment(home, **extra),
                          cwd=home, capture_output=True, text=True, timeout=TIMEOUT)


def start(home: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """Run in the background; both streams are pipes."""
    return subprocess.Popen([sys.executable, "-m", "cpbench", *map(str, arguments)], env=environment(home), cwd=home,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Standard error up to the first line with `text`."""
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} never came: {read}")
