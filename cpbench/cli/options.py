"""The options that several commands share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from cpbench.files import RESULTS

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results, warnings and errors.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of the run records.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again even where it is already done.")]
Datasets = Annotated[str | None, typer.Option("--dataset", metavar="D[,D...]", help="Datasets, separated by commas.")]

DEFAULT_RESULTS = RESULTS


def comma_separated(value: str) -> list[str]:
    """``"a, b"`` -> ``["a", "b"]``: how every option that takes several names is written."""
    return [part.strip() for part in value.split(",") if part.strip()]
