"""`cpbench report`: the comparison tables, from stored records and nothing else."""

from typing import Annotated, Any

import typer

from cpbench.cli.options import DEFAULT_RESULTS, Datasets, Json, Results, comma_separated

EPILOG = """Examples:

`cpbench report`  everything that is recorded

`cpbench report --dataset amazon-beauty --format markdown > beauty.md`

`cpbench report --format csv`  one line a model, with every metric"""

FORMATS = ("terminal", "markdown", "csv", "json")


def command(
    datasets: Datasets = None,
    results: Results = DEFAULT_RESULTS,
    form: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print.")] = "terminal",
    as_json: Json = False,
) -> None:
    """Compare the recorded runs: mean and spread over seeds, best in bold, published values beside ours."""
    from cpbench.cli.console import Output
    from cpbench.errors import UsageError, unknown
    from cpbench.report import render
    from cpbench.report.collect import collect
    from cpbench.report.tables import comparison_tables

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if as_json and form not in ("terminal", "json"):
        raise UsageError(f"--json and --format {form} contradict each other: give one of them")
    output = Output(as_json or form == "json")
    runs, unreadable = collect(results, comma_separated(datasets or ""))
    tables, separate = comparison_tables(runs)
    for warning in [*unreadable, *separate]:
        output.warn(warning)
    view: Any
    if form == "markdown":
        view = render.markdown(tables)
    elif form == "csv":
        view = render.csv_text(tables)
    else:
        view = render.terminal(tables, output.out)
    output.result(render.document(tables, [*unreadable, *separate]), view)
