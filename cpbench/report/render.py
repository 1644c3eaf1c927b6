"""Tables as text: for the terminal, GitHub markdown, CSV and JSON. Whatever came from data is escaped."""

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cpbench.report.caption import caption
from cpbench.report.record import ORACLE
from cpbench.report.tables import ComparisonTable, Row

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EXPENDABLE = ("HR@50", "HR@20", "HR@5", "MRR")
"""Metrics that a narrow terminal goes without, in this order."""


def title(table: ComparisonTable) -> str:
    lag = f", serving lag {table.protocol.serving_lag:,} s" if table.protocol.serving_lag else ""
    return f"{table.dataset}: {table.protocol.split}{lag}"


def information(row: Row) -> str:
    """``ids + times + categories``."""
    return " + ".join(row.information if row.model == ORACLE else ["ids", *row.information])


def published_lines(row: Row, sources: Sequence[str]) -> list[str]:
    """``0.0668 / 0.0354 [2]``: published HR@10 and NDCG@10, with the number of the source."""
    lines = []
    for entry in row.published:
        pair = [_number(entry.metrics[name]) if name in entry.metrics else "-" for name in ("HR@10", "NDCG@10")]
        lines.append(f"{' / '.join(pair)} [{sources.index(entry.source) + 1}]")
    return lines


def seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def count(value: int) -> str:
    """``812``, ``45.1 k``, ``1.3 M``."""
    for limit, unit in ((1_000_000, "M"), (1_000, "k")):
        if value >= limit:
            return f"{value / limit:,.1f} {unit}"
    return str(value)


def terminal(tables: Sequence[ComparisonTable], console: "Console") -> "RenderableType":
    """Tables for `console`; where it is too narrow, the less important metrics are left out and named."""
    from rich.console import Group

    return Group(*(_fit(table, console) for table in tables))


def _fit(table: ComparisonTable, console: "Console") -> "RenderableType":
    from rich.console import Group
    from rich.measure import Measurement
    from rich.text import Text

    columns, dropped = list(table.columns), list[str]()
    grid = _grid(table, columns)
    unbounded = console.options.update(max_width=10_000)
    for name in EXPENDABLE:
        if Measurement.get(console, unbounded, grid).maximum <= console.width:
            break
        if name in columns:
            columns.remove(name)
            dropped.append(name)
            grid = _grid(table, columns)
    lines = [*caption(table), *(f"[{number}] {source}." for number, source in enumerate(table.sources, start=1))]
    if dropped:
        lines.append(f"Not shown in this narrow terminal: {', '.join(dropped)}.")
    return Group(grid, Text("\n".join(lines) + "\n", style="dim"))


def _grid(table: ComparisonTable, columns: Sequence[str]) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    has_published = any(row.published for row in table.rows)
    names = [len(row.model) for row in table.all_rows]
    grid = Table(title=Text(title(table), style="bold"), title_justify="left", box=box.SIMPLE_HEAD,
                 padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column("model", min_width=min(max(names), 20), max_width=36)
    grid.add_column("uses", min_width=10, max_width=18)
    for name in columns:
        grid.add_column(name, justify="right", no_wrap=True)
    if has_published:
        grid.add_column("published\nHR@10 / NDCG@10", no_wrap=True)
    for name in ("fit s", "params", "seeds"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in table.all_rows:
        if row is table.ceiling:
            grid.add_section()
        values: list[Text] = []
        for name in columns:
            estimate = row.metrics.get(name)
            value = Text("-" if estimate is None else _number(estimate.mean))
            value.stylize("bold" if row is not table.ceiling and table.is_best(row, name) else "")
            if estimate is not None and estimate.spread is not None:
                value.append(f"\n±{_number(estimate.spread)}", style="dim not bold")
            values.append(value)
        grid.add_row(
            Text.assemble(row.model, "\n", (row.recipe, "dim")),
            Text(information(row)),
            *values,
            *([Text("\n".join(published_lines(row, table.sources)))] if has_published else []),
            *(["", "", ""] if row is table.ceiling else
              [seconds(row.fit_seconds), count(row.parameters), str(len(row.seeds))]),
        )
    return grid


def markdown(tables: Sequence[ComparisonTable]) -> str:
    """GitHub tables, each with its caption and sources."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: ComparisonTable) -> str:
    header = ["model", "recipe", "uses", *table.columns, "published HR@10 / NDCG@10", "fit seconds", "parameters",
              "seeds"]
    lines = [f"### {escape_markdown(title(table))}", "", _pipes(header),
             _pipes(["---", "---", "---", *["---:"] * len(table.columns), "---", "---:", "---:", "---:"])]
    for row in table.all_rows:
        is_ceiling = row is table.ceiling
        values = []
        for name in table.columns:
            estimate = row.metrics.get(name)
            value = "-" if estimate is None else _number(estimate.mean)
            value = f"**{value}**" if not is_ceiling and table.is_best(row, name) else value
            values.append(value if estimate is None or estimate.spread is None else
                          f"{value} ± {_number(estimate.spread)}")
        lines.append(_pipes([
            *map(escape_markdown, (row.model, row.recipe, information(row))),
            *values,
            "<br>".join(map(escape_markdown, published_lines(row, table.sources))),
            *(["", "", ""] if is_ceiling else [seconds(row.fit_seconds), count(row.parameters), str(len(row.seeds))]),
        ]))
    notes = [*caption(table), *(f"[{number}] {source}." for number, source in enumerate(table.sources, start=1))]
    return "\n".join([*lines, "", "  \n".join(map(escape_markdown, notes)), ""])


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_markdown(text: str) -> str:
    """Text that GitHub shows as it stands, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def csv_text(tables: Sequence[ComparisonTable]) -> str:
    """One line a model (and ceiling), all metrics, with a header; an empty field where there is no value."""
    pairs = [(table, row) for table in tables for row in table.all_rows]
    metrics = list(dict.fromkeys(name for _, row in pairs for name in row.metrics))
    published = list(dict.fromkeys(name for _, row in pairs for entry in row.published for name in entry.metrics))
    stream = io.StringIO()
    lines = [_csv_row(table, row, metrics, published) for table, row in pairs]
    writer = csv.DictWriter(stream, list(lines[0]) if lines else ["dataset"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _csv_row(table: ComparisonTable, row: Row, metrics: Sequence[str], published: Sequence[str]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "dataset": table.dataset,
        **table.protocol.model_dump(),
        "fingerprint": table.fingerprint,
        **table.counts,
        "kind": "ceiling" if row is table.ceiling else "model",
        "model": row.model,
        "recipe": row.recipe,
        "information": information(row),
        "seeds": " ".join(map(str, row.seeds)),
        "runs": len(row.seeds),
    }
    for name in metrics:
        estimate = row.metrics.get(name)
        line[name] = estimate.mean if estimate else None
        line[f"{name} std"] = estimate.spread if estimate else None
    for name in published:
        line[f"published {name}"] = "; ".join(str(entry.metrics[name]) for entry in row.published
                                              if name in entry.metrics)
    line["published source"] = "; ".join(dict.fromkeys(entry.source for entry in row.published))
    return line | {"fit seconds": row.fit_seconds, "parameters": row.parameters}


def document(tables: Sequence[ComparisonTable], warnings: Sequence[str]) -> dict[str, Any]:
    """Everything, for programs."""
    return {"tables": [{
        "dataset": table.dataset,
        "protocol": table.protocol.model_dump(mode="json"),
        "fingerprint": table.fingerprint,
        "counts": table.counts,
        "notes": table.notes,
        "caption": caption(table),
        "rows": [_json_row(row) for row in table.rows],
        "ceiling": _json_row(table.ceiling) if table.ceiling else None,
    } for table in tables], "warnings": list(warnings)}


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "recipe": row.recipe,
        "information": row.information,
        "seeds": row.seeds,
        "metrics": {name: {"mean": estimate.mean, "std": estimate.spread} for name, estimate in row.metrics.items()},
        "published": [entry.model_dump(include={"metrics", "source", "exclude_seen"}) for entry in row.published],
        "fit_seconds": row.fit_seconds,
        "parameters": row.parameters,
    }


def _number(value: float) -> str:
    return f"{value:.4f}"
