"""The README shows what the records say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_is_current(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tools" / "readme.py", "--check"], cwd=tmp_path,
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
