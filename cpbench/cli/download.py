"""`cpbench download`: fetch, verify, prepare."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cpbench.cli.console import Output
from cpbench.cli.options import Force, Json, Quiet

if TYPE_CHECKING:
    from cpbench.data.card import Card
    from cpbench.data.download import DatasetOutcome

EPILOG = """Examples:

`cpbench download`  the standard set, one dataset of each family

`cpbench download ml-1m --from /media/mirror`  from a folder laid out as GROUP/OFFICIAL-NAME

`cpbench download shop --from clicks.csv --columns user=visitor,item=product,time=clicked_at`  your own data

`cpbench download plays --from plays.inter`  RecBole's atomic files, plays.item beside it"""


def command(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="NAME", help="Datasets; none: the standard set, one of each family.")] = None,
    source: Annotated[str | None, typer.Option(
        "--from", metavar="PATH-or-URL",
        help="A mirror (folder or address, laid out as GROUP/OFFICIAL-NAME; or set CPBENCH_MIRROR), a single file, "
             "or your own .csv, .tsv (also .gz), .parquet or .inter.")] = None,
    columns: Annotated[str | None, typer.Option(
        "--columns", metavar="user=U,item=I,time=T", help="Your own data: which column is what.")] = None,
    items: Annotated[Path | None, typer.Option(
        "--items", metavar="FILE", help="Your own data: items (id, title, attributes; several values: A|B).")] = None,
    time_unit: Annotated[str, typer.Option(
        "--time-unit", metavar="s|ms|us|ns", help="Your own data: the unit of the times.")] = "s",
    k_core: Annotated[int, typer.Option(
        "--k-core", metavar="N", min=0, help="Your own data: drop users and items with fewer than N rows.")] = 0,
    listing: Annotated[bool, typer.Option("--list", help="List what can be downloaded.")] = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch, verify and prepare datasets."""
    from cpbench.data import catalogue, fetch
    from cpbench.data.tables import KINDS, header
    from cpbench.errors import UsageError

    output = Output(as_json, quiet)
    mirror = source or os.environ.get("CPBENCH_MIRROR") or None
    if listing:
        _list(output, mirror)
        return
    atomic = source is not None and source.lower().endswith(".inter")  # its header says which column is what
    if atomic and columns is not None:
        raise UsageError(f"{source} names its columns itself: leave --columns out")
    if columns is None and source is not None and source.lower().endswith(KINDS):  # as no official file does
        has = "" if fetch.is_url(source) else f" (it has {', '.join(header(Path(source).expanduser()))})"
        raise UsageError(f"{source} holds your own data{has}: name them and say which column is what, as in cpbench "
                         "download NAME --from FILE --columns user=...,item=...,time=...")
    if columns is not None or atomic:
        if not names or len(names) != 1:
            more = "" if atomic else " --columns ..."
            raise UsageError(f"your own data need one name: cpbench download NAME --from FILE{more}")
        outcomes = [_own(output, names[0], source, columns, items, time_unit, k_core, force)]
    else:
        if items is not None or k_core or time_unit != "s":
            raise UsageError("--items, --time-unit and --k-core are for your own data: give --columns too")
        chosen = list(dict.fromkeys(names or catalogue.STANDARD))
        outcomes = _public(output, chosen, mirror, force, show_sizes=not names)
    output.result({"datasets": [_document(outcome) for outcome in outcomes]}, _table(outcomes))


def _public(output: Output, names: list[str], source: str | None, force: bool, show_sizes: bool
            ) -> list["DatasetOutcome"]:
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from cpbench.data import catalogue
    from cpbench.data.card import card, cards
    from cpbench.data.download import DatasetOutcome, download
    from cpbench.errors import UsageError, unknown

    for name in names:  # all names first: a typo in the last one must not cost a download
        if name in catalogue.own_names():
            raise UsageError(f"{name!r} is your own dataset: prepare it again with --from FILE --columns ... --force")
        if name not in cards():
            hint = "; for your own data add --columns user=...,item=...,time=..." if source else ""
            raise UsageError(f"{unknown('dataset', name, cards())}{hint}")
    chosen = [card(name) for name in names if card(name).kind == "public"]
    if show_sizes:
        for each in chosen:
            output.note(f"{each.name}: {_size(each, source)} ({each.title})")
    outcomes = []
    for name in names:
        if card(name).kind != "public":
            output.note(f"{name}: nothing to download, it is generated when it is first used")
            outcomes.append(DatasetOutcome(name, "generated", {}))
            continue
        with output.progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                             TimeRemainingColumn()) as progress:
            outcomes.append(download(card(name), _Listener(output, progress), source, force))
    return outcomes


def _own(output: Output, name: str, source: str | None, columns: str | None, items: Path | None, time_unit: str,
         k_core: int, force: bool) -> "DatasetOutcome":
    from cpbench.data import catalogue, fetch
    from cpbench.data.download import DatasetOutcome, locked
    from cpbench.data.own import Own
    from cpbench.data.timestamps import PER_SECOND, Unit
    from cpbench.data.user_files import ENDINGS, check_name, parse_columns
    from cpbench.errors import UsageError, unknown

    check_name(name)
    roles = None if columns is None else parse_columns(columns)
    if source is None:
        raise UsageError(f"your own interactions lie in a file {ENDINGS}: add --from FILE")
    if fetch.is_url(source):
        raise UsageError(f"your own data are read from this machine: fetch {source} first, and give --from that file")
    if time_unit not in PER_SECOND:
        raise unknown("time unit", time_unit, PER_SECOND)
    asked = Own(name, Path(source).expanduser(), roles, items, cast(Unit, time_unit), k_core)
    with locked(name, _Listener(output)):
        if catalogue.is_ready(name) and not force:
            asked.check(catalogue.manifest(name))
            output.note(f"{name}: already prepared (--force does it again)")
            return DatasetOutcome(name, "ready", catalogue.manifest(name))
        dataset = asked.prepare()
        dataset.save(catalogue.prepared_folder(name))
    if lonely := dataset.manifest["users_with_one_interaction"]:
        output.note(f"{name}: {lonely:,} of {dataset.n_users:,} users have a single interaction; they are kept, "
                    "but nothing can be predicted for them")
    if not dataset.manifest["exclude_seen"]:
        output.note(f"{name}: {dataset.manifest['repeat_share']:.1%} of the interactions repeat an item of the same "
                    "user, so seen items stay in the ranking by default")
    for warning in dataset.manifest["warnings"]:
        output.warn(warning)
    return DatasetOutcome(name, "prepared", catalogue.manifest(name), dataset.manifest["warnings"])


class _Listener:
    """A download's news, on the terminal."""

    def __init__(self, output: Output, progress: Any = None) -> None:
        self.output = output
        self.progress = progress
        self.tasks: dict[str, Any] = {}

    def note(self, text: str) -> None:
        self.output.note(text)

    def warn(self, text: str) -> None:
        self.output.warn(text)

    def advance(self, file: str, done: int, total: int | None) -> None:
        if file not in self.tasks:
            self.tasks[file] = self.progress.add_task(file, total=total)
        self.progress.update(self.tasks[file], completed=done, total=total)


def _list(output: Output, source: str | None) -> None:
    from rich.box import SIMPLE
    from rich.table import Column, Table

    from cpbench.data import catalogue
    from cpbench.data.card import card

    table = Table(Column("dataset", no_wrap=True), "state", "size", "title", box=SIMPLE, show_edge=False,
                  pad_edge=False)
    rows = []
    for name in catalogue.public_names():
        each, ready = card(name), catalogue.is_ready(name)
        rows.append({"name": name, "title": each.title, "ready": ready, "standard": name in catalogue.STANDARD,
                     "bytes": _bytes(each, source, ask=False), "licence": each.licence,
                     "files": [file.url for file in each.files]})
        table.add_row(name, "ready" if ready else "", _size(each, source, ask=False), each.title)
    output.result({"datasets": rows}, table)


def _bytes(card: "Card", source: str | None, ask: bool = True) -> int | None:
    from cpbench.data import sources

    sizes = [sources.size(card, file, source, ask) for file in card.files]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _size(card: "Card", source: str | None, ask: bool = True) -> str:
    size = _bytes(card, source, ask)
    return "size not known" if size is None else f"{size / 1e6:,.1f} MB"


def _document(outcome: "DatasetOutcome") -> dict[str, Any]:
    return {"name": outcome.name, "status": outcome.status, "counts": outcome.manifest.get("counts"),
            "fingerprint": outcome.manifest.get("fingerprint"), "sources": outcome.manifest.get("sources", []),
            "warnings": outcome.manifest.get("warnings", [])}


def _table(outcomes: list["DatasetOutcome"]) -> Any:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table("dataset", "state", "users", "items", "interactions", box=SIMPLE, show_edge=False, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for outcome in outcomes:
        counts = outcome.manifest.get("counts", {})
        table.add_row(outcome.name, outcome.status,
                      *(f"{counts[key]:,}" if key in counts else "" for key in ("users", "items", "interactions")))
    return table
