"""The reference grid says what is missing, from any folder."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_dataset_outside_the_grid_is_no_empty_list(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tools" / "reference_grid.py", "--list", "--dataset", "lastfmm"],
                          cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert "'lastfmm' is not in results/reference/grid.toml: it has streaming, " in done.stderr


def test_no_training_at_a_time_is_bad_usage(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tools" / "reference_grid.py", "--jobs", "0", "--list"],
                          cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and "--jobs must be at least 1, not 0" in done.stderr
