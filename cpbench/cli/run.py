"""`cpbench run`: train, evaluate once on test, write records."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpbench.cli.options import (
    Datasets,
    Device,
    ExcludeSeen,
    Force,
    Json,
    Quiet,
    Recipe,
    Results,
    Settings,
    SplitName,
    comma_separated,
)
from cpbench.files import RESULTS

if TYPE_CHECKING:
    from cpbench.experiments.watcher import Outcome

EPILOG = """Examples:

`cpbench run --model popularity,sasrec,climber-pilot`  on every downloaded dataset, or on `streaming`

`cpbench run --model sasrec --dataset amazon-beauty --seeds 1,2,3 --set loss=bce --set width=32`

`cpbench run --model climber-pilot --dataset ml-1m --recipe paper --serving-lag 60s`

`cpbench run --model sasrec,hstu --dataset ml-1m --serving-lag 0,15m`  two protocols, every model trained once

`cpbench run --model climber-pilot --condition genre --set sft.method=pinrec`  pre-training, then fine-tuning"""


def command(
    models: Annotated[str, typer.Option("--model", metavar="M[,M...]", help="Models, separated by commas.")],
    datasets: Datasets = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="1,2,3", help="One run per seed.")] = "1",
    recipe: Recipe = "tuned",
    settings: Settings = None,
    split: SplitName = "leave-one-out",
    serving_lags: Annotated[str, typer.Option(
        "--serving-lag", metavar="TIME[,TIME...]",
        help="Hide the last 900, 15m, 1h or 1d before a test event. Several lags share a training.")] = "0",
    condition: Annotated[str | None, typer.Option(
        "--condition", metavar="ATTRIBUTE", help="Also train to obey it (genre, category, popularity, freshness, ...)."
        )] = None,
    exclude_seen: ExcludeSeen = None,
    device: Device = "auto",
    results: Results = RESULTS,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train models, evaluate them once on test, and record every run.

    Without --dataset: on every dataset that has been downloaded, or on the simulated `streaming` when none has.
    Runs that are recorded already are skipped, interrupted ones continue.
    """
    from cpbench.cli.console import Output
    from cpbench.experiments.plan import default_datasets, explain, parse_lags, parse_seeds, plan, untuned, why_default
    from cpbench.experiments.recipes import parse_settings

    output = Output(as_json, quiet)
    chosen = default_datasets() if datasets is None else list(dict.fromkeys(comma_separated(datasets)))
    overrides = parse_settings(settings or [])
    cells = plan(comma_separated(models), chosen, parse_seeds(seeds), recipe, overrides, split,
                 parse_lags(serving_lags), exclude_seen, condition)
    output.note(f"datasets: {', '.join(chosen)}{'' if datasets is not None else why_default(chosen)}")
    for line in [*explain(cells, recipe, overrides), *untuned(cells)]:
        output.note(line)

    from cpbench.cli.live import exit_with_failures, watching
    from cpbench.experiments.runner import run

    with watching(output, len(cells)) as watcher:
        outcomes = run(cells, results, watcher, force, device)
    output.result(_document(outcomes, results), _table(outcomes))
    if any(outcome.record is not None for outcome in outcomes):
        only = "" if datasets is None else f" --dataset {','.join(chosen)}"
        where = "" if results == RESULTS else f" --results {shlex.quote(str(results))}"
        output.note(f"records: {results}\ntable: cpbench report{only}{where}")
    exit_with_failures(outcomes)


def _document(outcomes: list["Outcome"], results: Path) -> dict[str, Any]:
    return {"results": str(results), "runs": [{
        "dataset": outcome.cell.dataset,
        "serving_lag": outcome.cell.protocol.serving_lag,
        "model": outcome.cell.model_name,
        "seed": outcome.cell.seed,
        "status": outcome.status,
        "folder": str(outcome.folder),
        "error": None if outcome.error is None else str(outcome.error),
        "record": None if outcome.record is None else outcome.record.model_dump(mode="json"),
    } for outcome in outcomes]}


def _table(outcomes: list["Outcome"]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from cpbench.cli.live import figure

    table = Table("dataset", "model", "run", "state", "HR@10", "NDCG@10", "fit s")
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[3:]:
        column.justify, column.no_wrap = "right", True
    for outcome in outcomes:
        lag = outcome.cell.protocol.serving_lag
        run = outcome.cell.run_name + (f", lag {lag} s" if lag else "")
        cells = [outcome.cell.dataset, outcome.cell.model_name, run, outcome.status]
        if outcome.record is not None:
            record = outcome.record
            cells += [figure(record, "HR@10"), figure(record, "NDCG@10"), f"{record.cost.fit_seconds:.1f}"]
        table.add_row(*map(escape, cells))
    return table
