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
        "--figure", metavar="PATH", help="Where the PNG is written (default: figures/NAME.png in the data cache)."
    )] = None,
    quiet: Quiet = False,
) -> None:
    """Describe a dataset: sizes, lengths, time span, consumption lag, attributes; and draw its distributions."""
    from cpbench.data import catalogue
    from cpbench.data.describe import describe
    from cpbench.data.figure import draw
    from cpbench.files import home

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

    table = Table(title=escape(facts["name"]), show_header=False, title_justify="left")
    lengths = facts["lengths"]
    for label, text in (
        ("users", f"{facts['users']:,} ({facts['users_with_one_interaction']:,} with a single interaction)"),
        ("items", f"{facts['items']:,} ({facts['titles']:.0%} with a title)"),
        ("interactions", f"{facts['interactions']:,} (density {facts['density']:.4%}, "
                         f"{facts['repeat_share']:.1%} repeat an item of the same user)"),
        ("lengths", f"min {lengths['min']}, median {lengths['median']:g}, mean {lengths['mean']:.1f}, "
                    f"max {lengths['max']:,}"),
        ("time", f"{facts['first']} to {facts['last']}, in steps of a {facts['granularity']}"),
        ("consumption lag", ", ".join(f"within {lag}: {share:.3f}" for lag, share in facts["consumption_lag"].items()
                                      if share is not None) or "no user has two interactions"),
        *((name, f"{each['values']:,} values, {each['coverage']:.1%} of the items carry any "
                 f"({each['per_item']:.1f} each)") for name, each in facts["attributes"].items()),
        ("licence", facts["licence"]),
        ("fingerprint", facts["fingerprint"]),
        *(("warning", warning) for warning in facts["warnings"]),
    ):
        table.add_row(escape(label), escape(text))
    return table
