"""`cpbench diff`: what differs between two recorded runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpbench.cli.options import RUN, Json, Quiet, Results
from cpbench.files import RESULTS

if TYPE_CHECKING:
    from rich.table import Table

    from cpbench.report.diff import FactPair, PairedUsers, RunDiff

EPILOG = """Examples:

`cpbench diff ml-1m/leave-one-out/sasrec ml-1m/leave-one-out/hstu`  the newest run of each

`cpbench diff results/ml-1m/leave-one-out/sasrec/tuned-seed1 results/ml-1m/leave-one-out/hstu/tuned-seed1`

`cpbench diff results/ml-1m/leave-one-out/sasrec/{tuned,paper}-seed1 --json`  every metric, too"""


def command(
    first: Annotated[str, typer.Argument(metavar="RUN", help=RUN)],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another.")],
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what differs between two recorded runs: data, settings, circumstances, metrics, and user by user.

    Differences are the second run less the first. Where both rank the same test events, users are counted for whom the
    second is better (wins) or worse (losses), and HR@10 and NDCG@10 are tested over users; another seed may decide
    otherwise, which one run each cannot show.
    """
    from cpbench.cli.console import Output
    from cpbench.errors import UsageError
    from cpbench.report.diff import diff
    from cpbench.report.evidence import Run
    from cpbench.report.named import find_run
    from cpbench.report.record import load_record

    one, other = find_run(first, results), find_run(second, results)
    if one.resolve() == other.resolve():
        raise UsageError(f"{one} is given twice: name two runs")
    found = diff(Run(load_record(one), one), Run(load_record(other), other))
    output = Output(as_json, quiet)
    if found.incomparable:
        output.warn(f"the metrics of these runs do not compare: {'; '.join(found.incomparable)}")
    for remark in found.remarks:
        output.warn(remark)
    output.result(_document(found), _view(found))


def _document(found: "RunDiff") -> dict[str, Any]:
    from dataclasses import asdict

    def differences(part: list["FactPair"]) -> list[dict[str, Any]]:
        return [{"name": each.name, "first": each.first, "second": each.second,
                 **({} if each.sources is None else {"sources": list(each.sources)})} for each in part]

    return {
        "first": str(found.first.folder), "second": str(found.second.folder),
        "comparable": not found.incomparable, "incomparable": found.incomparable, "remarks": found.remarks,
        "data": differences(found.data), "settings": differences(found.settings),
        "equal_settings": found.equal_settings, "circumstances": differences(found.circumstances),
        "cost": differences(found.cost),
        "metrics": [{**asdict(each), "difference": each.difference} for each in found.metrics],
        "users": None if found.users is None else asdict(found.users),
    }


def _view(found: "RunDiff") -> Any:
    from rich.console import Group
    from rich.text import Text

    from cpbench.report.caption import protocol_text

    record = found.first.record
    counts = ", ".join(f"{count:,} {name}" for name, count in record.dataset_counts.items())
    basis = f"{record.dataset} ({counts}); {protocol_text(record.protocol)}"
    same = "" if found.data else f"\nsame data and protocol: {basis}"
    parts: list[Any] = [Text(f"first:  {found.first.folder}\nsecond: {found.second.folder}{same}\n")]
    if found.data:
        parts.append(_differences("data and protocol", found.data))
    equal = f"settings that are equal: {found.equal_settings}"
    parts += [_differences("settings", found.settings), Text(f"{equal}\n", "dim")] if found.settings else [
        Text(f"no setting differs; {equal}\n")]
    parts += [_differences("circumstances", found.circumstances), _differences("cost", found.cost)]
    parts += [_metrics(found), Text("all metrics: --json\n", "dim")]
    return Group(*parts, *([] if found.users is None else _users(found.users)))


def _table(title: str, *columns: str, numbers: int = 0) -> "Table":
    """The last `numbers` columns are right-justified."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    aligned = [Column(name, overflow="fold", justify="right" if place >= len(columns) - numbers else "left")
               for place, name in enumerate(columns)]
    return Table(*aligned, title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _differences(title: str, part: list["FactPair"]) -> "Table":
    from rich.text import Text

    table = _table(title, "", "first", "second")
    for each in part:
        first, second = each.sources or (None, None)
        table.add_row(*map(Text, (each.name, _value(each.first, first), _value(each.second, second))))
    return table


def _value(value: Any, source: str | None) -> str:
    """The value as text and, below it, where it comes from."""
    import json

    text = value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) and not isinstance(
        value, bool) else f"{value:,.4g}" if isinstance(value, float) else "-" if value is None else json.dumps(value)
    return text if source is None else f"{text}\n({source})"


def _metrics(found: "RunDiff") -> "Table":
    table = _table("metrics", "", "first", "second", "difference", numbers=3)
    for each in found.metrics:
        if "/" not in each.name:
            table.add_row(each.name, *("-" if value is None else f"{value:{sign}.4f}" for value, sign in (
                (each.first, ""), (each.second, ""), (each.difference, "+"))))
    return table


def _users(users: "PairedUsers") -> list[Any]:
    from rich.text import Text

    many = "" if users.events == users.users else f" ({users.events:,} test events)"
    counts = _table("user by user", "by", "wins", "losses", "ties", numbers=3)
    for tally in users.tallies:
        counts.add_row(tally.measure, f"{tally.wins:,}", f"{tally.losses:,}", f"{tally.ties:,}")
    parts: list[Any] = [counts, Text(f"of {users.users:,} users{many}: for whom the second run is better, worse, "
                                     "equal\n", "dim")]
    if users.tests:
        tests = _table("paired t test over users", "", "difference", "95 % interval", "p", "effect (d)", numbers=4)
        for name, test in users.tests.items():
            low, high = test.interval
            chance = "< .0001" if test.p_value < 0.0001 else f"{test.p_value:.4f}"
            effect = "-" if test.effect is None else f"{test.effect:+.3f}"
            tests.add_row(name, f"{test.mean:+.4f}", f"{low:+.4f} to {high:+.4f}", chance, effect)
        parts.append(tests)
    lines = []
    if not all(test.covers_seeds for test in users.tests.values()):
        lines.append("One run each: how much another seed would change is not included, and p proves less than it "
                     "seems.")
    if users.beam is not None:
        lines.append(f"One of them at least ranks lists of {users.beam}: ranks beyond count as misses of both.")
    return [*parts, Text("\n".join(lines), "dim")]
