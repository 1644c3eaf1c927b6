"""What an instruction costs at serving, as `cpbench bench serve` measures it (the paper: 7.26 ms against 6.94 ms)."""

import json
import subprocess
import sys

import pytest


@pytest.mark.gate
def test_conditions_are_cheap_to_serve() -> None:
    done = subprocess.run([sys.executable, "-m", "cpbench", "bench", "serve", "--json", "--repeats", "40"],
                          stdout=subprocess.PIPE, text=True, check=True)
    ratios = json.loads(done.stdout)
    print(f"\none condition {ratios['one_condition_over_plain']:.3f} x none, "
          f"eight {ratios['eight_conditions_over_one']:.3f} x one")
    assert ratios["one_condition_over_plain"] <= 1.05
    assert ratios["eight_conditions_over_one"] <= 1.5
