"""`cpbench simulate`: recorded runs serve the same simulated users in a closed loop."""

from typing import Annotated, Any

import typer

from cpbench.cli.options import RUN, Json, Quiet, Results
from cpbench.files import RESULTS

EPILOG = """Examples:

`cpbench simulate --policy streaming/sasrec --policy streaming/climber-pilot`  two weeks; differences from sasrec

`cpbench simulate --policy streaming/sasrec --policy condition=genre --instructions 5 --seed 2`

`cpbench simulate --policy streaming/popularity --days 3 --users 300 --set leave=0.3 --json`"""

COLUMNS = {"like_rate": ("like rate", "{:.4f}"), "listening_minutes": ("minutes / user-day", "{:.2f}"),
           "genre_diversity": ("genres shown", "{:.2f}"), "language_diversity": ("languages shown", "{:.2f}")}


def command(
    references: Annotated[list[str], typer.Option(
        "--policy", metavar="RUN", help=f"{RUN} May be repeated: the others are compared with the first.")],
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, max=3650, help="How long.")] = 14,
    users: Annotated[int | None, typer.Option(
        "--users", metavar="N", min=1, help="How many users, drawn from the dataset's (default: all).")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Of everything that is drawn.")] = 1,
    instructions: Annotated[int, typer.Option(
        "--instructions", metavar="P", min=0, help="Precomputed instructions per user, for runs that were trained with "
        "--condition; 0: their general list.")] = 3,
    serving_lag: Annotated[str, typer.Option(
        "--serving-lag", metavar="TIME", help="The policy sees the log up to this long before a request.")] = "15m",
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Override an assumption (docs/simulate.md); may be repeated.")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve the same simulated users with recorded runs, each in a world that remembers what it showed.

    Reports like rate, listening time and the diversity of what was shown, by level of activity; lifts over the first
    policy with paired 95 % bootstrap intervals. Also written to RESULTS/DATASET/simulation/HASH/simulation.json.
    """
    from cpbench.cli.console import Output
    from cpbench.errors import UsageError
    from cpbench.experiments.online_test import entrants, online_test, world_config
    from cpbench.experiments.plan import parse_lag
    from cpbench.experiments.recipes import parse_settings

    output = Output(as_json, quiet)
    knobs = parse_settings(settings or [])
    if "serving_lag" in knobs:
        raise UsageError("--set serving_lag has an option of its own: --serving-lag")
    world = world_config({**knobs, "serving_lag": parse_lag(serving_lag)})
    policies = entrants(references, results, instructions)
    for entrant in policies:
        output.note(f"{entrant.label}: {entrant.run.folder}")

    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    label_column = TextColumn("{task.description}", markup=False)
    columns = (TimeElapsedColumn(), BarColumn(bar_width=8), MofNCompleteColumn(), label_column)
    with output.progress(*columns) as progress:
        bar = progress.add_task("", total=None)

        def begin(label: str, requests: int) -> None:
            output.note(f"serving: {label}, {requests:,} requests at most")
            progress.reset(bar, total=requests, description=label)

        document, path = online_test(policies, results, days, users, seed, world, begin,
                                     lambda requests: progress.advance(bar, requests))
    output.result({**document, "file": str(path)}, _table(document))
    output.note(f"written: {path}")


def _table(document: dict[str, Any]) -> Any:
    """A block of rows for each group of users; below every figure its lift over the first policy, in %."""
    from rich.table import Table
    from rich.text import Text

    several = len(document["policies"]) > 1
    lifts = "\n+ or - %: lift over the first policy, [95 % interval]" if several else ""
    table = Table("users", "policy", *(heading for heading, _ in COLUMNS.values()), caption=(
        f"{document['users']:,} users, {document['days']} days, seed {document['seed']}; diversity: effective number "
        f"a user{lifts}"), caption_justify="left", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[2:]:
        column.justify = "right"
    for group, count in document["groups"].items():
        for place, policy in enumerate(document["policies"]):
            cells = [_cell(policy, group, metric) for metric in COLUMNS]
            table.add_row(f"{group} ({count:,})" if place == 0 else "", Text(policy["label"]), *map(Text, cells))
        table.add_section()
    return table


def _cell(policy: dict[str, Any], group: str, metric: str) -> str:
    value = policy["metrics"][group][metric]
    cell = COLUMNS[metric][1].format(value) if value == value else "-"  # NaN: nobody of that level came
    if policy["against_first"] is None:
        return cell
    gap = policy["against_first"][group][metric]
    if gap["lift"] != gap["lift"]:
        return cell
    return f"{cell}\n{gap['lift']:+.1f} %\n[{gap['lift_low']:+.1f}, {gap['lift_high']:+.1f}]"
