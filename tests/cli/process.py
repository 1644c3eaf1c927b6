"""The command line: in this process, or in one of its own where that is what is tested."""

import io
import os
import pty
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from cpbench.cli.app import main

TIMEOUT = 120


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CPBENCH_")}
    return {**kept, "CPBENCH_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200", **extra}


def cpbench(home: Path, *arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, here: a process of its own would spend seconds on importing torch.

    Folders that are not given are those of `home`; neither stream is a terminal.
    """
    out, err = io.StringIO(), io.StringIO()
    words = ["cpbench", *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        patch.chdir(home)
        for name in [name for name in os.environ if name.startswith("CPBENCH_")]:
            patch.delenv(name)
        for name, value in environment(home, **extra).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main()
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(words, ended.value.code, out.getvalue(), err.getvalue())


def own_process(home: Path, *arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own: what it imports, what a library prints, other packages (PYTHONPATH)."""
    return subprocess.run([sys.executable, "-m", "cpbench", *map(str, arguments)], env=environment(home, **extra),
                          cwd=home, capture_output=True, text=True, timeout=TIMEOUT)


def on_a_terminal(home: Path, columns: int, *arguments: str | Path, of: str = "stdout") -> list[str]:
    """The lines that a terminal of so many columns shows of one stream, the other being lost."""
    watched, ours = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, of: ours}
    process = subprocess.Popen([sys.executable, "-m", "cpbench", *map(str, arguments)], cwd=home,
                               env=environment(home, TERM="xterm", NO_COLOR="1", COLUMNS=str(columns)), **streams)
    os.close(ours)
    seen = b""
    while True:
        try:
            part = os.read(watched, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        seen += part
    assert process.wait(timeout=TIMEOUT) == 0, seen
    os.close(watched)
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).splitlines()


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
