"""`cpbench datasets`: what there is, ready or not."""

from typing import Any

from cpbench.cli.console import Output
from cpbench.cli.options import Json

EPILOG = """Examples:

`cpbench datasets`  what there is, and what is ready

`cpbench datasets --json | jq '.datasets[] | select(.ready).name'`"""


def command(as_json: Json = False) -> None:
    """List the datasets: public ones, the simulated one, and your own."""
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Column, Table

    from cpbench.data import catalogue

    rows = [_row(name) for name in catalogue.known_names()]
    name = Column("dataset", no_wrap=True)
    table = Table(name, "kind", "ready", "users", "items", "interactions", box=SIMPLE, show_edge=False, pad_edge=False)
    about = Table(name.copy(), "title", "licence", box=SIMPLE, show_edge=False, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows:
        counts = row["counts"] or {}
        state = "yes" if row["ready"] else "damaged" if row["damaged"] else "no"
        table.add_row(row["name"], row["kind"], state,
                      *(f"{counts[key]:,}" if key in counts else "" for key in ("users", "items", "interactions")))
        about.add_row(row["name"], escape(row["title"]), escape(row["licence"]))
    output = Output(as_json)
    for row in rows:
        if row["damaged"]:
            output.warn(row["warnings"][0])
    output.result({"datasets": rows}, Group(table, "", about))


def _row(name: str) -> dict[str, Any]:
    from cpbench.data import catalogue
    from cpbench.data.card import cards
    from cpbench.errors import UsageError

    card = cards().get(name)
    ready = catalogue.is_ready(name)
    manifest: dict[str, Any] = {}
    damage = ""
    try:
        if catalogue.is_prepared(name):
            manifest = catalogue.manifest(name)
    except UsageError as error:  # the others are listed all the same
        damage = str(error)
        ready = card is not None and card.kind == "simulated"
    expected = card.expected.model_dump() if card and card.expected else None
    return {
        "name": name,
        "title": card.title if card else manifest.get("title", name),
        "kind": card.kind if card else "own",
        "ready": ready,
        "counts": manifest.get("counts", expected),
        "licence": card.licence if card else manifest.get("licence", ""),
        "attributes": card.attributes if card else manifest.get("attributes", []),
        "warnings": manifest.get("warnings", [damage] if damage else []),
        "damaged": bool(damage),
    }
