"""`cpbench tune`: a search for a model's settings on your data, by validation."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpbench.cli.options import (
    Device,
    ExcludeSeen,
    Force,
    Json,
    Quiet,
    Recipe,
    Results,
    ServingLag,
    Settings,
    SplitName,
    comma_separated,
)
from cpbench.files import RESULTS

if TYPE_CHECKING:
    from cpbench.experiments.tune import Ledger

EPILOG = """Examples:

`cpbench tune --model sasrec,hstu,climber-pilot --dataset mine --trials 20`  the same number of trials for each

`cpbench tune --model sasrec --dataset mine --try learning_rate=1e-4..1e-2 --try width=32,64,128 --minutes 60`

`cpbench tune --model ease --dataset ml-1m --try ridge=50,100,200,500`  few enough to try them all"""

SHOWN = 10


def command(
    models: Annotated[str, typer.Option("--model", metavar="M[,M...]", help="Models, separated by commas.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="D", help="One dataset.")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials of each model, its recipe included.")] = 20,
    minutes: Annotated[float, typer.Option(
        "--minutes", min=0, help="Begin no trial of a model after so many minutes of training it; 0: no limit.")] = 0,
    given: Annotated[list[str] | None, typer.Option(
        "--try", metavar="KEY=LOW..HIGH|A,B,C", help="What to vary, instead of the model's own space; may be repeated."
        )] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all trainings, and of the search.")] = 1,
    recipe: Recipe = "tuned",
    settings: Settings = None,
    split: SplitName = "leave-one-out",
    serving_lag: ServingLag = "0",
    exclude_seen: ExcludeSeen = None,
    device: Device = "auto",
    results: Results = RESULTS,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for settings by validation NDCG@10; the test is not looked at.

    The first trial is the recipe with what --set gives. Trials are kept: the same command continues, a larger --trials
    adds to them.
    """
    from cpbench.cli.console import Output
    from cpbench.errors import CpbenchError, UsageError
    from cpbench.experiments.plan import explain, parse_lag, plan
    from cpbench.experiments.recipes import parse_settings
    from cpbench.experiments.search_space import parse_space
    from cpbench.experiments.tune import possible, searches, tune

    output = Output(as_json, quiet)
    if "," in dataset:
        raise UsageError("--dataset takes one dataset here: settings that suit one need not suit another")
    overrides = parse_settings(settings or [])
    cells = plan(comma_separated(models), [dataset], [seed], recipe, overrides, split, [parse_lag(serving_lag)],
                 exclude_seen)
    wanted = searches(cells, parse_space(given or []))
    for line in explain(cells, recipe, overrides):
        output.note(line)
    for search in wanted:
        space = ", ".join(f"{key} {each}" for key, each in search.space.items())
        output.note(f"{search.base.model_name}: {space}")

    from cpbench.cli.live import watching

    options = _options(split, serving_lag, exclude_seen, device)
    with watching(output, sum(possible(search, trials) for search in wanted)) as watcher:
        ledgers = tune(wanted, trials, minutes, results, watcher, force, device)
    output.result({"searches": [_document(path, ledger, options) for path, ledger in ledgers]}, _tables(ledgers))
    for path, ledger in ledgers:
        output.note(f"{ledger.model}: all trials in {path}")
        if ledger.best is not None:
            beaten = "" if ledger.best.number else " (no trial was better than the recipe)"
            output.note(f"  chosen on validation, with one seed{beaten}; what it is worth on test, with several:\n"
                        f"  {_command(ledger, options)}")
    failed = [ledger.model for _, ledger in ledgers if ledger.best is None]
    if failed:
        raise CpbenchError(f"no trial of {', '.join(failed)} succeeded: the ledger has the reasons")


def _options(split: str, serving_lag: str, exclude_seen: bool | None, device: str) -> list[str]:
    """Of `cpbench run`, what was not left at its default."""
    seen = [] if exclude_seen is None else ["--exclude-seen" if exclude_seen else "--include-seen"]
    named = (("--split", split, "leave-one-out"), ("--serving-lag", serving_lag, "0"), ("--device", device, "auto"))
    return [text for option, value, default in named if value != default for text in (option, value)] + seen


def _command(ledger: "Ledger", options: list[str]) -> str:
    """The runs that tell what the best trial is worth."""
    assert ledger.best is not None
    recipe = [] if ledger.recipe == "tuned" else ["--recipe", ledger.recipe]
    values = [text for key, value in (ledger.fixed | ledger.best.settings).items()
              for text in ("--set", f"{key}={_toml(value)}")]
    return shlex.join(["cpbench", "run", "--model", ledger.model, "--dataset", ledger.dataset, *recipe, *values,
                       *options, "--seeds", "1,2,3"])


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(path: Path, ledger: "Ledger", options: list[str]) -> dict[str, Any]:
    best = ledger.best
    return {**ledger.model_dump(mode="json"), "ledger": str(path), "best": best and best.model_dump(mode="json"),
            "run": best and _command(ledger, options)}


def _tables(ledgers: list[tuple[Path, "Ledger"]]) -> Any:
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    tables = []
    for _, ledger in ledgers:
        table = Table("trial", *map(escape, ledger.space), "NDCG@10", "HR@10", "best epoch", "fit s",
                      title=escape(f"{ledger.model} on {ledger.dataset}: validation"), title_justify="left", box=SIMPLE,
                      padding=(0, 1, 0, 0), pad_edge=False)
        for column in table.columns:
            column.justify, column.overflow = "right", "fold"
        ranked = sorted(ledger.trials, key=lambda trial: -trial.value)
        for trial in ranked[:SHOWN] + [trial for trial in ranked[SHOWN:] if not trial.number]:
            values = [str(trial.settings.get(key, ledger.config[key])) for key in ledger.space]
            figures = ["failed", ""] if trial.valid is None else [f"{trial.valid[name]:.4f}"
                                                                 for name in ("NDCG@10", "HR@10")]
            epoch = f"{trial.best_epoch} of {trial.epochs}" if trial.epochs else ""
            name = str(trial.number) if trial.number else "recipe"
            table.add_row(*map(escape, [name, *values, *figures, epoch, f"{trial.seconds:.1f}"]))
        for column in table.columns:  # headings may break, but a value that is cut is another value
            column.min_width = max(len(str(cell)) for cell in column.cells)
        if len(ranked) > SHOWN:
            table.caption = f"the best {SHOWN} of {len(ranked)}"
        tables.append(table)
    return Group(*tables)
