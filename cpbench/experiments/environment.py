"""The circumstances of a run: versions, source, machine, memory. Nothing that names a person or a machine."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import cpbench
from cpbench.report.record import Machine


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def circumstances(device: torch.device, libraries: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a RunRecord that do not depend on the run, `finished` being now; `libraries` are what a model
    needs beside the core."""
    commit, dirty = source()
    more = {name: metadata.version(name) for name in libraries}
    return {"versions": versions() | more, "machine": machine(device), "commit": commit, "dirty": dirty,
            "command": command_line(), "finished": utc_now()}


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "polars": pl.__version__, "cpbench": cpbench.__version__}


@cache
def source() -> tuple[str | None, bool | None]:
    """The git commit that cpbench runs from and whether it was changed since; (None, None) for an installed package."""
    root = Path(cpbench.__file__).parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "cpbench", "baselines", "datasets", "pyproject.toml")
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changed)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def command_line() -> str:
    """The command as typed, with the user's home folder as ``~``."""
    line = shlex.join(["cpbench", *sys.argv[1:]])
    home = os.environ.get("HOME", "").rstrip("/")
    return line.replace(home, "~") if home else line


def machine(device: torch.device) -> Machine:
    name = device.type
    if device.type == "cuda":
        name = f"cuda: {torch.cuda.get_device_name(device)}"
    return Machine(cpu=_cpu_model(), threads=torch.get_num_threads(), device=name,
                   system=f"{platform.system()} {platform.machine()}")


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def forget_peak_memory() -> None:
    """Start measuring peak memory anew (Linux; elsewhere the peak is that of the whole process)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_memory() -> int:
    """Largest resident memory of this process since `forget_peak_memory`, in bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
