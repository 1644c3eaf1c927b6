"""`cpbench download`: fetch, verify, prepare."""

from typing import Annotated

import typer

from cpbench.cli.options import Force, Json, Quiet


def command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME ...]", help="Datasets.")] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch, verify and prepare datasets."""
