"""The options that several commands share, each declared once."""

import csv
from pathlib import Path
from typing import Annotated

import typer

RUN = "A run's folder, or names of its path (streaming/sasrec): the newest that has them all."

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results, warnings and errors.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of the run records.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again even where it is already done.")]
Recipe = Annotated[str, typer.Option(
    "--recipe", metavar="tuned|paper|...", help="Which of a model's recipes: see `cpbench models`.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="Override a setting of model or training; may be repeated.")]
SplitName = Annotated[str, typer.Option(
    "--split", metavar="SPLIT", help="leave-one-out or temporal: what is training, validation and test.")]
ServingLag = Annotated[str, typer.Option(
    "--serving-lag", metavar="TIME", help="Hide the last 900, 15m, 1h or 1d before a test event.")]
ExcludeSeen = Annotated[bool | None, typer.Option(
    "--exclude-seen/--include-seen",
    help="Leave out, or keep, items that the user has seen; default: as the dataset says.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")]
Datasets = Annotated[str | None, typer.Option("--dataset", metavar="D[,D...]", help="Datasets, separated by commas.")]


def comma_separated(value: str, quotes: bool = False) -> list[str]:
    """``"a, b"`` -> ``["a", "b"]``: how every option that takes several names is written.

    With `quotes`, a part in double quotes may hold commas.
    """
    parts = next(csv.reader([value], skipinitialspace=True)) if quotes else value.split(",")
    return [part.strip() for part in parts if part.strip()]
