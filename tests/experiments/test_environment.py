import re
import sys

import numpy as np
import pytest
import torch

from cpbench.experiments import environment
from cpbench.training import allocator


def test_the_command_tells_nobody_who_ran_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/venv/bin/cpbench", "run", "--set", "loss=a b", "--results", "/home/ann/r"])
    monkeypatch.setenv("HOME", "/home/ann")
    assert environment.command_line() == "cpbench run --set 'loss=a b' --results ~/r"


def test_versions_and_machine():
    assert set(environment.versions()) == {"python", "torch", "numpy", "polars", "cpbench"}
    machine = environment.machine(torch.device("cpu"))
    assert machine.device == "cpu" and machine.threads >= 1 and machine.cpu


def test_source_is_a_commit_or_nothing():
    commit, dirty = environment.source()
    assert (commit is None and dirty is None) or (re.fullmatch("[0-9a-f]{40}", commit) and dirty in (True, False))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forgets a peak")
def test_peak_memory_is_that_of_the_run():
    ballast = np.ones(30_000_000)  # 240 MB
    assert environment.peak_memory() > 240e6
    peak = environment.peak_memory()
    del ballast
    allocator.trim()  # where an earlier test has tuned it, it keeps what is freed
    environment.forget_peak_memory()
    assert environment.peak_memory() < peak - 200e6
