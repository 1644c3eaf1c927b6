"""The README shows what the records say, and the records what the recipes say."""

import subprocess
import sys
from pathlib import Path

from cpbench import __version__
from cpbench.experiments.plan import Cell
from cpbench.experiments.recipes import choose_recipe, resolve
from cpbench.models.registry import model_class
from cpbench.report.collect import collect, only
from cpbench.report.record import ORACLE

ROOT = Path(__file__).parents[2]


def test_the_readme_is_current(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tools" / "readme.py", "--check"], cwd=tmp_path,
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_cited_is_this_version():
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {{{__version__}}}" in (ROOT / "README.md").read_text()


def test_every_table_is_linked():
    lines = (ROOT / "docs" / "results.md").read_text().splitlines()
    titles = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    linked = [line.partition("](#")[0].removeprefix("| [") for line in lines if line.startswith("| [")]
    assert titles and linked == titles


def test_what_is_shown_as_a_recipe_is_that_recipe_today():
    """A recipe that was changed after its run leaves a record whose command gives other numbers."""
    shown = only(collect(ROOT / "results" / "reference")[0], [], recipes_only=True)
    records = [run.record for run in shown if run.record.model != ORACLE]
    assert records
    for record in records:
        found = model_class(record.model)
        settings = resolve(found, choose_recipe(found, record.recipe), record.dataset, {},
                           record.protocol.condition is not None)
        cell = Cell(record.dataset, record.protocol, record.model, found, settings, record.seed)
        assert cell.has_settings(record.config), f"the recipe of {cell.label} was changed since: run it again"
