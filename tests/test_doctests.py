"""The examples in docstrings are true."""

import doctest

import pytest
from cpbench.baselines.tiger import text

from cpbench import errors, files
from cpbench.report import place
from cpbench.report.figures import critical_difference


@pytest.mark.parametrize("module", [errors, files, text, place, critical_difference])
def test_examples(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
