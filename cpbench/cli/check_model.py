"""`cpbench check-model`: does a model keep the promises of the shared interface?"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cpbench.cli.console import Output
from cpbench.cli.options import Json

EPILOG = """Examples:

`cpbench check-model sasrec`

`cpbench check-model my_package.model:MyModel --json`"""


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="PACKAGE.MODULE:CLASS, or a registered name.")],
    as_json: Json = False,
) -> None:
    """Run the conformance suite on a model: exit status 0 when it passes every check, 1 when it does not."""
    from rich.markup import escape
    from rich.table import Table

    from cpbench.experiments.recipe_check import check_recipes
    from cpbench.models.conformance import check
    from cpbench.models.registry import find_class

    output = Output(as_json)
    sys.path.append(str(Path.cwd()))  # a class in a file that is not installed yet
    model_class = find_class(model)
    checks = [*check(model_class), check_recipes(model_class)]
    failed = sum(not result.ok for result in checks)
    verdict = f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed"
    table = Table(title=escape(f"{model}: {verdict}"), title_justify="left")
    for column in ("check", "result", "remark"):
        table.add_column(column)
    for result in checks:
        table.add_row(result.name, "[green]ok[/]" if result.ok else "[bold red]failed[/]", escape(result.message))
    document = {"model": model, "ok": not failed, "checks": [result._asdict() for result in checks]}
    output.result(document, table)
    if failed:
        raise typer.Exit(1)
