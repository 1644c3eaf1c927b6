"""`cpbench ablate`: one claim of the paper as a grid of runs, a table and a figure."""

from typing import Annotated

import typer

from cpbench.cli.options import Device, Force, Json, Quiet, Recipe, Results, Settings
from cpbench.files import RESULTS

EPILOG = """Examples:

`cpbench ablate tamip --dataset streaming --seeds 1,2,3,4,5`  NIP, MIP, TAMIP, one to ten items ahead

`cpbench ablate cgsa --dataset ml-1m --condition genre`  instruction following, with all rivals

`cpbench ablate window --dataset amazon-beauty --serving-lag 0`  under the usual protocol only"""


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="tamip, window, branches, cgsa or instructions.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="D", help="One dataset.")] = "streaming",
    seeds: Annotated[str, typer.Option("--seeds", metavar="1,2,3", help="One grid of runs per seed.")] = "1,2,3",
    variants: Annotated[list[str] | None, typer.Option(
        "--variant", metavar="LABEL",
        help="Only this row (NIP, CGSA, 'K = 3', ...) and the one it is compared with; may be repeated.")] = None,
    recipe: Recipe = "tuned",
    settings: Settings = None,
    serving_lags: Annotated[str, typer.Option(
        "--serving-lag", metavar="TIME[,TIME]", help="The protocols, 0 being the usual one.")] = "0,15m",
    condition: Annotated[str | None, typer.Option(
        "--condition", metavar="ATTRIBUTE", help="Of cgsa and instructions; else genre, or category.")] = None,
    device: Device = "auto",
    results: Results = RESULTS,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test one claim of the Climber-Pilot paper; what is recorded already is not run again.

    Records go where `cpbench run` puts them; table and figure into RESULTS/ablations/NAME/DATASET.
    """
    from cpbench.cli.console import Output
    from cpbench.data import catalogue
    from cpbench.errors import UsageError, unknown
    from cpbench.experiments.ablations import ABLATIONS, cells
    from cpbench.experiments.plan import parse_lags, parse_seeds
    from cpbench.experiments.recipes import parse_settings

    output = Output(as_json, quiet)
    if name not in ABLATIONS:
        raise unknown("ablation", name, ABLATIONS)
    if "," in dataset:
        raise UsageError("--dataset takes one dataset here: a grid a dataset")
    ablation = ABLATIONS[name]
    grid = cells(ablation, dataset, parse_seeds(seeds), recipe, parse_settings(settings or []),
                 parse_lags(serving_lags), condition, variants or [])
    output.note(f"{name}: {ablation.claim}\n{len(grid)} runs on {dataset}")

    from rich.markdown import Markdown

    from cpbench.cli.live import exit_with_failures, watching
    from cpbench.experiments.ablate import measure
    from cpbench.report.ablation import ablation_rows
    from cpbench.report.ablation_page import write_page

    with watching(output, len(grid)) as watcher:
        runs, outcomes = measure(ablation, grid, results, watcher, force, device)
    rows = ablation_rows(runs, ablation.measured, ablation.reference, ablation.metrics)
    page = write_page(ablation, catalogue.load(dataset), rows, results / "ablations" / name / dataset)
    view = page.markdown if not output.out.is_terminal else Markdown(page.markdown.replace("<br>", " "))
    output.result(page.document, view)
    output.note("\n".join(f"{kind}: {path}" for kind, path in page.files.items()))
    exit_with_failures(outcomes)
