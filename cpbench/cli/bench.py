"""`cpbench bench serve`: what an instruction costs at serving."""

from typing import TYPE_CHECKING, Annotated

import typer

from cpbench.cli.options import Json, Quiet, Results
from cpbench.files import RESULTS

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(help="Measure speed on this machine, as ratios within one run.", no_args_is_help=True)

EPILOG = """Examples:

`cpbench bench serve`

`cpbench bench serve --users 1 --length 200 --json`

`cpbench bench serve --run climber-pilot/condition=genre --index hnsw`  a recorded run, searched both ways"""


@app.callback()
def group() -> None:
    """Measure speed on this machine, as ratios within one run."""


@app.command("serve", epilog=EPILOG)
def serve(
    users: Annotated[int, typer.Option("--users", min=1, help="Users in a batch.")] = 32,
    length: Annotated[int, typer.Option("--length", min=1, help="Interactions of a user.")] = 100,
    width: Annotated[int, typer.Option("--width", min=20, help="Width of the model; a multiple of 4.")] = 128,
    items: Annotated[int, typer.Option("--items", min=50, help="Items of the catalogue.")] = 50_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measured repeats.")] = 30,
    method: Annotated[str, typer.Option("--method", help="How conditions enter: cgsa, pinrec, lum, adaln-zero, none.")
                      ] = "cgsa",
    run: Annotated[str | None, typer.Option(
        "--run", metavar="RUN", help="A recorded run with a condition instead of a made-up model.")] = None,
    index: Annotated[str, typer.Option(
        "--index", metavar="exact|hnsw", help="hnsw: also search approximately, and say what that finds.")] = "exact",
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Climber-Pilot's queries for a batch of users: without a condition, with one, with eight.

    With --run the model, its users and their most frequent values are a recorded run's; --length, --width, --items
    and --method are then ignored.
    """
    from dataclasses import asdict

    from cpbench.cli.console import Output
    from cpbench.climber_pilot.conditioning import METHODS
    from cpbench.errors import UsageError, unknown
    from cpbench.experiments.serving_bench import Workload, made_up, measure, of_run
    from cpbench.experiments.stored import load_run

    output = Output(as_json, quiet)
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if index not in ("exact", "hnsw"):
        raise unknown("index", index, ("exact", "hnsw"))
    if width % 4:
        raise UsageError(f"--width {width} is not a multiple of 4, the number of heads")
    if run is not None:
        served, workload = of_run(load_run(run, results), users), {"run": run, "users": users}
        output.note(f"{users} users of {run}, {repeats} repeats")
    else:
        made = Workload(users, length, width, items, method)
        served, workload = made_up(made), asdict(made)
        output.note(f"{users} users, {length} interactions each, width {width}, {items:,} items, {repeats} repeats")
    result = measure(served, repeats, index == "hnsw")
    output.result({**result, "workload": {**workload, "repeats": repeats}}, _view(result))


def _view(result: dict[str, float]) -> "Table":
    from rich.table import Table

    table = Table("a batch", "ms", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"
    for label, key, ratio in (
        ("queries, no condition", "plain_ms", ""),
        ("queries, one condition", "one_condition_ms", f"{result['one_condition_over_plain']:.3f} x none"),
        ("queries, eight conditions", "eight_conditions_ms", f"{result['eight_conditions_over_one']:.3f} x one"),
        ("exact search, one list a user", "search_one_ms", ""),
        ("exact search, eight lists a user", "search_eight_ms", ""),
        ("HNSW search, one list a user", "hnsw_one_ms", ""),
        ("HNSW search, eight lists a user", "hnsw_eight_ms", f"recall {result.get('hnsw_recall', 0):.1%}"),
    ):
        if key in result:
            table.add_row(label, f"{result[key]:.2f}", ratio)
    return table
