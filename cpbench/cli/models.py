"""`cpbench models`: what can be run, and what each model is allowed to see."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpbench.cli.console import Output
from cpbench.cli.options import Json

if TYPE_CHECKING:
    from cpbench.experiments.model_settings import ModelSettings

EPILOG = """Examples:

`cpbench models`  every model, what it sees, its recipes

`cpbench models sasrec`  its settings: what `--set` takes, defaults, recipes, meaning

`cpbench models --json | jq '.models[].name'`"""


def command(
    name: Annotated[str | None, typer.Argument(
        metavar="[NAME]", help="A model, to see its settings; without it, all models.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the registered models (information budget, way of training, recipes, package), or the settings of one."""
    if name is not None:
        from cpbench.experiments.model_settings import model_settings

        found = model_settings(name)
        Output(as_json).result(asdict(found), _settings(found))
        return
    _list(as_json)


def _settings(found: "ModelSettings") -> Any:
    """A row a key; a recipe's value stands where it is not the default."""
    import json

    from rich.box import SIMPLE
    from rich.console import Group
    from rich.table import Column, Table
    from rich.text import Text

    def text(value: Any) -> str:
        return value if isinstance(value, str) and value else json.dumps(value)

    columns = [Column(name, overflow="fold") for name in ("key", "default", *found.recipes, "what it means")]
    table = Table(*columns, box=SIMPLE, show_edge=False, pad_edge=False)
    for each in found.settings:
        own = [text(each.recipes[recipe]) if recipe in each.recipes else "" for recipe in found.recipes]
        table.add_row(*map(Text, (each.key, text(each.default), *own, each.meaning)))
    lines = [f"recipe {recipe} has values of its own for {', '.join(datasets)}"
             for recipe, datasets in found.datasets.items()]
    return Group(table, Text("\n".join(["", *lines, "any of them: --set KEY=VALUE"]), "dim"))


def _list(as_json: bool) -> None:
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
