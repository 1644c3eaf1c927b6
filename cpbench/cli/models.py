"""`cpbench models`: what can be run, and what each model is allowed to see."""

from dataclasses import asdict

from cpbench.cli.console import Output
from cpbench.cli.options import Json

EPILOG = """Examples:

`cpbench models`  every model, what it sees, its recipes

`cpbench models --json | jq '.models[].name'`"""


def command(as_json: Json = False) -> None:
    """List the registered models: information budget, way of training, recipes, package."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Column, Table

    from cpbench.experiments.model_list import registered_models

    found = registered_models()
    table = Table(Column("model", no_wrap=True), "uses ids and", Column("trained by", no_wrap=True), "recipes",
                  Column("package", no_wrap=True), Column("what it is", ratio=1), box=SIMPLE, show_edge=False,
                  pad_edge=False)
    for model in found:
        cells = (model.name, ", ".join(model.information) or "nothing else", model.trained_by,
                 ", ".join(model.recipes) or "defaults only", model.package, model.error or model.description)
        table.add_row(*map(escape, cells), style="red" if model.error else "")
    Output(as_json).result({"models": [asdict(model) for model in found]}, table)
