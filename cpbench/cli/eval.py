"""`cpbench eval`: another system's recommendations, through the metrics of every model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpbench.cli.options import (
    Force,
    Json,
    Quiet,
    Results,
    ServingLag,
    SplitName,
    comma_separated,
)
from cpbench.files import RESULTS

if TYPE_CHECKING:
    from cpbench.experiments.external import External

EPILOG = """Examples:

`cpbench eval recommendations.parquet --dataset ml-1m --name our-system`

`cpbench eval lists.csv --dataset amazon-beauty --columns user=uid,item=asin,rank=position --information times,text`

`cpbench eval lists.csv --dataset streaming --serving-lag 15m`  where that is what the system could see

FILE has a row for every item of a user's list: the original ids of user and item, and a score (larger is better) or a
rank (from 1). What each line of the result means: docs/eval.md."""


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recommendations: .parquet, .csv or .tsv (also .gz).")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="D", help="The dataset whose test users these are.")],
    name: Annotated[str | None, typer.Option(
        "--name", metavar="NAME", help="What to call the system (default: the file's name).")] = None,
    columns: Annotated[str | None, typer.Option(
        "--columns", metavar="ROLE=COLUMN,...",
        help="Columns not called user, item, score or rank, as in user=uid,item=sku.")] = None,
    information: Annotated[str, typer.Option(
        "--information", metavar="I[,I...]",
        help="What the system uses beside item ids: user, times, request time, categories, text; or ids: nothing."
        )] = "unknown",
    split: SplitName = "leave-one-out",
    serving_lag: ServingLag = "0",
    exclude_seen: Annotated[bool | None, typer.Option(
        "--exclude-seen/--include-seen",
        help="Leave out, or keep, items that the user has seen; default: as the dataset says.")] = None,
    results: Results = RESULTS,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate any system's recommendations on the test events, and record them as a row of the same tables.

    The lists are ranked as those of a model with a beam: a target outside a list is a miss, and metrics at K beyond
    the lists are absent. That the system saw no test event is its author's word: cpbench cannot check it.
    """
    from cpbench.cli.console import Output
    from cpbench.data.recommendation_files import parse_roles_of_lists
    from cpbench.experiments.external import evaluate_file
    from cpbench.experiments.plan import parse_lag, protocol_for

    output = Output(as_json, quiet)
    roles = None if columns is None else parse_roles_of_lists(columns)
    protocol = protocol_for(dataset, split, parse_lag(serving_lag), exclude_seen)
    made = evaluate_file(file, dataset, protocol, results, name, roles, comma_separated(information), force,
                         output.note)
    if made.status == "skipped":
        output.note("these lists are recorded already (--force evaluates them again)")
    for warning in made.warnings:
        output.warn(warning)
    output.result({"status": made.status, "folder": str(made.folder), "warnings": made.warnings,
                   "record": made.record.model_dump(mode="json")}, _view(made))
    output.note(f"record: {made.folder}")


def _view(made: "External") -> Any:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from cpbench.cli.live import figure
    from cpbench.report.caption import protocol_text
    from cpbench.report.tables import shown

    record = made.record
    metrics = shown(record.metrics.test)
    table = Table("dataset", "system", "ordered by", *metrics)
    for column in table.columns:
        column.overflow = "fold"
    table.add_row(*map(escape, (record.dataset, record.model, record.config["ordered_by"])),
                  *(figure(record, metric) for metric in metrics))
    notes = record.notes
    length = f"lists of {notes['beam']:.0f}" if "beam" in notes else "lists that rank the whole catalogue"
    return Group(table, escape(f"{notes['events']:,.0f} test events, {length}; {protocol_text(record.protocol)}"))
