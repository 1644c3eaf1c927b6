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
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Column, Table

    from cpbench.experiments.model_list import registered_models

    found = registered_models()
    name = Column("model", no_wrap=True)
    table = Table(name, "uses ids and", "trained by", "recipes", "package", box=SIMPLE, show_edge=False, pad_edge=False)
    about = Table(name.copy(), "what it is", box=SIMPLE, show_edge=False, pad_edge=False)
    for column in table.columns[1:]:
        column.overflow = "fold"
    for model in found:
        style = "red" if model.error else ""
        cells = (model.name, ", ".join(model.information) or "nothing else", model.trained_by,
                 ", ".join(model.recipes) or "defaults only", model.package)
        table.add_row(*map(escape, cells), style=style)
        about.add_row(escape(model.name), escape(model.error or model.description), style=style)
    Output(as_json).result({"models": [asdict(model) for model in found]}, Group(table, "", about))
