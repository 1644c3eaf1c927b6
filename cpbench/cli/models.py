"""`cpbench models`: what can be run, and what each model is allowed to see."""

from dataclasses import asdict

from cpbench.cli.console import Output
from cpbench.cli.options import Json


def command(as_json: Json = False) -> None:
    """List the registered models: information budget, way of training, recipes, package."""
    from rich.markup import escape
    from rich.table import Table

    from cpbench.experiments.model_list import registered_models

    found = registered_models()
    table = Table()
    for column in ("model", "what it is", "uses item ids and", "trained by", "recipes", "package"):
        table.add_column(column)
    for model in found:
        cells = (model.name, model.error or model.description, ", ".join(model.information) or "nothing else",
                 model.trained_by, ", ".join(model.recipes) or "defaults only", model.package)
        table.add_row(*map(escape, cells), style="red" if model.error else "")
    Output(as_json).result({"models": [asdict(model) for model in found]}, table)
