"""`cpbench inspect`: what a prepared dataset looks like."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cpbench.cli.console import Output
from cpbench.cli.options import Json, Quiet

EPILOG = """Examples:

`cpbench inspect ml-1m`

`cpbench inspect streaming --json --figure streaming.png`"""


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prepared dataset.")],
    as_json: Json = False,
    figure: Annotated[Path | None, typer.Option(
        "--figure", metavar="PATH.png", help="Where the PNG is written (default: figures/NAME.png in the data cache)."
    )] = None,
    quiet: Quiet = False,
) -> None:
    """Describe a dataset: sizes, lengths, time span, consumption lag, attributes; and draw its distributions."""
    from cpbench.data import catalogue
    from cpbench.data.describe import describe
    from cpbench.data.figure import draw
    from cpbench.errors import UsageError
    from cpbench.files import home

    if figure is not None and figure.suffix.lower() != ".png":
        raise UsageError(f"--figure {figure}: what is written is a PNG, so let the name end in .png")
    output = Output(as_json, quiet)
    dataset = catalogue.load(name)
    facts = describe(dataset)
    path = figure or home() / "figures" / f"{name}.png"
    draw(dataset, path)
    facts["figure"] = str(path)
    output.result(facts, _view(facts))
    output.note(f"figure: {path}")


def _view(facts: dict[str, Any]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from cpbench.data.describe import in_words

    table = Table(title=escape(facts["name"]), show_header=False, title_justify="left")
    for label, text in in_words(facts):
        table.add_row(escape(label), escape(text))
    return table
