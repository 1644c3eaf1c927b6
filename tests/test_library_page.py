"""The code of docs/library.md and CONTRIBUTING.md runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cpbench.models.conformance import check
from tests.cli.process import environment
from tests.experiments.tiny import place, tiny

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
MODELS, RECORDS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(code: str, home: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(home), capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models(tmp_path):
    place(tmp_path, tiny())
    out = run(MODELS.replace('"streaming"', '"tiny"'), tmp_path)
    assert "item-knn" in out and "sasrec" in out and out.count("'i") == 5


def test_records(tmp_path):
    assert "p_value=" in run(RECORDS, tmp_path) and "covers_seeds=True" in run(RECORDS, tmp_path)


def test_the_model_in_twenty_lines():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    model = names["RunningMean"]
    assert [result for result in check(model, model.Config()) if not result.ok and result.name != "recipes"] == []
