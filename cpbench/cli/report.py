"""`cpbench report`: the comparison tables, from stored records and nothing else."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cpbench.cli.options import Datasets, Json, Results, comma_separated
from cpbench.files import RESULTS

EPILOG = """Examples:

`cpbench report`  everything that is recorded

`cpbench report --dataset amazon-beauty --reference sasrec --format markdown > beauty.md`

`cpbench report --format csv`  one line per model, with every metric

`cpbench report --out report`  every format, one self-contained web page, and all figures as PNG, SVG and PDF

`cpbench report --dataset ml-1m --recipes-only --format latex --out paper`"""

FORMATS = ("terminal", "markdown", "csv", "json", "latex", "html")


@contextmanager
def _all_is_kept() -> Iterator[None]:
    """Nothing made meanwhile is searched for garbage, now or later: with ten thousand records that takes a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def command(
    datasets: Datasets = None,
    results: Results = RESULTS,
    models: Annotated[str | None, typer.Option("--model", metavar="M[,M...]", help="Only these models.")] = None,
    recipes_only: Annotated[bool, typer.Option("--recipes-only", help="Leave out runs with settings made by --set.")
                            ] = False,
    reference: Annotated[str | None, typer.Option(
        "--reference", metavar="MODEL", help="Compare every row with this model's; else with the best row.")] = None,
    form: Annotated[str | None, typer.Option(
        "--format", metavar="FORMAT", help=f"How to print: {', '.join(FORMATS)} (default: terminal, or all with --out)."
        )] = None,
    out: Annotated[str | None, typer.Option(
        "--out", metavar="DIR", help="Write the report, in every format or in --format, with figures.")] = None,
    as_json: Json = False,
) -> None:
    """Compare the recorded runs: spread over seeds, intervals over users, tests against a reference, published values.

    Statistics are computed from the stored rank of every test event; nothing is run again. Runs on other data, under
    another protocol, or with the settings of a paper instead of tuned ones stand in tables of their own.
    """
    from cpbench.cli.console import Output
    from cpbench.errors import UsageError, unknown
    from cpbench.report.collect import collect, only
    from cpbench.report.figures.critical_difference import why_not
    from cpbench.report.publish import FILES, as_text, check_place, publish
    from cpbench.report.significance import with_statistics
    from cpbench.report.tables import comparison_tables
    from cpbench.report.terminal import terminal

    if form is not None and form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if as_json and out is None and form not in (None, "terminal", "json"):
        raise UsageError(f"--json and --format {form} contradict each other: give one of them")
    if out is not None and form == "terminal":
        raise UsageError("--out writes files, and a terminal is none: give another --format, or none for all")
    for name, given in (("--dataset", datasets), ("--model", models), ("--out", out)):
        if given is not None and not comma_separated(given):
            raise UsageError(f"{name} {given!r} names nothing: give a name, or leave {name} out")
    forms = tuple(FILES) if form is None else (form,)
    if out is not None:
        check_place(forms, Path(out))
    output = Output(as_json or (form == "json" and out is None))
    with _all_is_kept():
        runs, unreadable = collect(results, comma_separated(datasets or ""))
        runs = only(runs, comma_separated(models or ""), recipes_only)
        tables, separate = comparison_tables(runs)
        tables, unsupported = with_statistics(tables, reference)
    warnings = [*unreadable, *separate, *unsupported]
    for warning in warnings:
        output.warn(warning)
    if (out is not None or form == "html") and (reason := why_not(tables)):
        output.note(reason)
    if out is not None:
        paths = publish(forms, tables, warnings, results, Path(out))
        output.result({"files": [str(path) for path in paths]}, "\n".join(map(str, paths)))
        return
    view: Any = as_text(form, tables, warnings, results) if form in FILES else terminal(tables, output.out)
    document: Any = None
    if output.as_json:
        from cpbench.report.data_formats import document as as_document

        document = as_document(tables, warnings)
    output.result(document, view)
