"""`cpbench recommend`: what a recorded run shows to chosen users, with and without conditions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpbench.cli.options import RUN, Json, Quiet, Results, comma_separated
from cpbench.files import RESULTS

if TYPE_CHECKING:
    from rich.text import Text

    from cpbench.experiments.recommend import Case, Item, Recommended, RecommendedList
    from cpbench.experiments.stored import StoredRun

EPILOG = """Examples:

`cpbench recommend climber-pilot --user 42 --condition genre=Comedy --condition genre=Drama`  the newest such run

`cpbench recommend ml-1m/sasrec --users-from users.csv -k 20 --json`

`cpbench recommend ml-1m/climber-pilot --history 260,1196,1210 --condition popularity=tail`"""

NARROWEST = 22
"""Columns of a terminal that a list needs: more lists than fit side by side go below each other."""
MOST_VALUES = 4
"""Of one attribute in a cell; --json has all."""
BASES = {
    "test event": "as visible at the test event",
    "last interaction": "all interactions: this user has no test event",
    "given history": "as given; without times: an hour apart, ending when the data end",
}
HOWS = {"none": "", "model": "instructed", "filtered": "filtered"}
MEANINGS = {"model": "instructed: the model's own way of obeying; an item need not carry the value",
            "filtered": "filtered: the best unconditioned scores among the items that carry the value"}


def command(
    reference: Annotated[str, typer.Argument(metavar="RUN", help=RUN)],
    users: Annotated[list[str] | None, typer.Option(
        "--user", metavar="ID", help="Original user id; may be repeated.")] = None,
    users_from: Annotated[Path | None, typer.Option(
        "--users-from", metavar="FILE", help="One user id a line, or CSV with a column `user`.")] = None,
    history: Annotated[str | None, typer.Option(
        "--history", metavar="ID,ID,...", help="Original item ids, oldest first, instead of a user; one with a comma "
        "stands in double quotes.")] = None,
    conditions: Annotated[list[str] | None, typer.Option(
        "--condition", metavar="ATTRIBUTE=VALUE", help="One more list, of such items; may be repeated.")] = None,
    k: Annotated[int | None, typer.Option(
        "-k", metavar="K", help="Length of the lists (default: 10, or the whole catalogue if it is smaller).")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show users' recent histories and what a recorded run recommends to them, unconditioned and under conditions.

    A run that was trained with --condition obeys that attribute itself ("instructed"); every other condition, and every
    other run, is answered by the best unconditioned scores among the items that carry the value ("filtered").
    """
    from cpbench.cli.console import Output
    from cpbench.errors import UsageError
    from cpbench.experiments.original_ids import read_users
    from cpbench.experiments.recommend import recommend
    from cpbench.experiments.stored import load_run

    named = [*(users or []), *(read_users(users_from) if users_from is not None else [])]
    items = None if history is None else comma_separated(history, quotes=True)
    if named and items is not None:
        raise UsageError("--history takes the place of users: give it without --user and --users-from")
    if not named and not items:
        raise UsageError("whose lists? Give --user ID, --users-from FILE or --history ITEM,ITEM,...")
    run = load_run(reference, results)
    cases = recommend(run, named, items, conditions or [], k)
    output = Output(as_json, quiet)
    output.note(f"run: {run.folder}")
    output.result(_document(run, cases), _view(run, cases, output.out.width))


def _document(run: "StoredRun", cases: list["Case"]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"run": str(run.folder), "dataset": run.record.dataset, "model": run.record.model,
            "exclude_seen": run.record.protocol.exclude_seen, "users": [asdict(case) for case in cases]}


def _view(run: "StoredRun", cases: list["Case"], width: int) -> Any:
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for case in cases:
        who = "history" if case.user is None else f"user {_plain(case.user)}"
        shown = f"; the last {len(case.history)}" if case.history_length > len(case.history) else ""
        parts += [Text(who, "bold"), Text(f"{case.history_length:,} interactions ({BASES[case.basis]}){shown}:")]
        parts += [_history(case), *_tables(case, width), Text()]
    ways = {each.how for case in cases for each in case.lists}
    seen = "left out" if run.record.protocol.exclude_seen else "not left out"
    notes = [*(meaning for how, meaning in MEANINGS.items() if how in ways), f"items of the history are {seen}"]
    return Group(*parts, Text("\n".join(notes), "dim"))


def _history(case: "Case") -> Any:
    from rich.table import Table
    from rich.text import Text

    if not case.history:
        return Text("no interaction is visible: what follows is popularity", "italic")
    timed = case.history[0].time is not None
    table = Table(*(["time"] if timed else []), "item", "title", "values", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for item in case.history:
        time = [Text((item.time or "")[:16].replace("T", " "))] if timed else []
        table.add_row(*time, Text(_plain(item.id)), Text(_plain(item.title or "-")),
                      Text("; ".join(_values(item, name) for name in item.values if item.values[name])))
    return table


def _tables(case: "Case", width: int) -> list[Any]:
    """The lists side by side, in as many tables as the width asks for, and what must be said about them."""
    from itertools import zip_longest

    from rich.table import Column, Table
    from rich.text import Text

    many = max(1, (width - 5) // (NARROWEST + 3))
    made: list[Any] = []
    for first in range(0, len(case.lists), many):
        part = case.lists[first:first + many]
        columns = [Column(Text(_heading(each)), overflow="fold", ratio=1) for each in part]
        table = Table(Column("#", justify="right"), *columns, show_lines=True)
        for place, row in enumerate(zip_longest(*(each.items for each in part)), 1):
            cells = (Text("") if item is None else _cell(item, each)
                     for item, each in zip(row, part, strict=True))
            table.add_row(str(place), *cells)
        made.append(table)
    if case.shared:
        occur = "items occur" if case.shared > 1 else "item occurs"
        made.append(Text(f"{case.shared} {occur} in several lists: ×n, in n of the {len(case.lists)}"))
    elif len(case.lists) > 1:
        made.append(Text("no item occurs in several lists"))
    return made


def _heading(shown: "RecommendedList") -> str:
    length = len(shown.items)
    short = f"only {length} of {shown.asked} left" if length < shown.asked else ""
    if shown.condition is None:
        return "\n".join(filter(None, ("unconditioned", short)))
    obeyed = HOWS[shown.how] + (f", {shown.matching} of {length} carry it" if shown.how == "model" else "")
    return "\n".join(filter(None, (_plain(shown.condition), obeyed, short)))


def _cell(item: "Recommended", shown: "RecommendedList") -> "Text":
    from rich.text import Text

    asked = (shown.condition or "").partition("=")[2]
    cell = Text(_plain(item.title or item.id))
    if item.lists > 1:
        cell.append(f" ×{item.lists}", "bold")
    if item.title is not None:
        cell.append(f"\n{_plain(item.id)}", "cyan")
    for name in [shown.attribute] if shown.attribute is not None else item.values:
        if item.values[name]:
            cell.append(f"\n{_values(item, name, asked)}", "dim")
    return cell


def _values(item: "Item", attribute: str, asked: str = "") -> str:
    """The first few values, the one that was asked for before all others."""
    values = sorted(item.values[attribute], key=lambda value: value != asked)
    more = f", +{len(values) - MOST_VALUES}" if len(values) > MOST_VALUES else ""
    return _plain(", ".join(values[:MOST_VALUES])) + more


def _plain(text: str) -> str:
    """One line without control characters: titles are other people's text, and a terminal would obey them."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
