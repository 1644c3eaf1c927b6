"""`cpbench inspect`: what a prepared dataset looks like."""

from pathlib import Path
from typing import Annotated

import typer

from cpbench.cli.options import Json, Quiet


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prepared dataset.")],
    as_json: Json = False,
    figure: Annotated[Path | None, typer.Option("--figure", metavar="PATH", help="Where the PNG is written.")] = None,
    quiet: Quiet = False,
) -> None:
    """Describe a dataset."""
