"""How every command refuses: an exit status, one sentence, and nothing else."""

import subprocess


def refused(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one sentence on standard error of a command that failed with `status` and answered nothing."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("error: ")
    return last.removeprefix("error: ")
