"""Tables for programs: CSV and JSON, with every metric."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cpbench.report.caption import caption
from cpbench.report.grid import information
from cpbench.report.significance import METRICS
from cpbench.report.tables import ComparisonTable, Row


def csv_text(tables: Sequence[ComparisonTable]) -> str:
    """One line a model (and ceiling), all metrics, with a header; an empty field where there is no value."""
    pairs = [(table, row) for table in tables for row in table.all_rows]
    metrics = list(dict.fromkeys(name for _, row in pairs for name in row.metrics))
    published = list(dict.fromkeys(name for _, row in pairs for entry in row.published for name in entry.metrics))
    stream = io.StringIO()
    lines = [_csv_row(table, row, metrics, published) for table, row in pairs]
    columns = list(dict.fromkeys(name for line in lines for name in line))  # counts differ from dataset to dataset
    writer = csv.DictWriter(stream, columns or ["dataset"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _csv_row(table: ComparisonTable, row: Row, metrics: Sequence[str], published: Sequence[str]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "dataset": table.dataset,
        **table.protocol.model_dump(),
        "fingerprint": table.fingerprint,
        **table.counts,
        "table": table.recipes,
        "kind": "ceiling" if row is table.ceiling else "model",
        "model": row.model,
        "recipe": row.recipe,
        "reference": table.reference,
        "information": information(row),
        "seeds": " ".join(map(str, row.seeds)),
        "runs": len(row.seeds),
    }
    for name in metrics:
        estimate = row.metrics.get(name)
        line[name] = estimate.mean if estimate else None
        line[f"{name} std"] = estimate.spread if estimate else None
        if name in METRICS:
            low, high = estimate.interval if estimate and estimate.interval else (None, None)
            difference = row.differences.get(name)
            line |= {f"{name} low": low, f"{name} high": high,
                     f"{name} less reference": difference.mean if difference else None,
                     f"{name} p": difference.p_value if difference else None,
                     f"{name} p covers seeds": difference.covers_seeds if difference else None,
                     f"{name} effect": difference.effect if difference else None,
                     f"{name} bound": difference.bound if difference else None}
    for name in published:
        line[f"published {name}"] = "; ".join(str(entry.metrics[name]) for entry in row.published
                                              if name in entry.metrics)
    line["published source"] = "; ".join(dict.fromkeys(entry.source for entry in row.published))
    return line | {"fit seconds": row.fit_seconds, "fit device": row.device, "parameters": row.parameters}


def document(tables: Sequence[ComparisonTable], warnings: Sequence[str]) -> dict[str, Any]:
    """Everything, for programs."""
    return {"tables": [{
        "dataset": table.dataset,
        "protocol": table.protocol.model_dump(mode="json"),
        "fingerprint": table.fingerprint,
        "counts": table.counts,
        "recipes": table.recipes,
        "reference": table.reference,
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
        "metrics": {name: {"mean": estimate.mean, "std": estimate.spread, "interval": estimate.interval}
                    for name, estimate in row.metrics.items()},
        "differences": {name: asdict(difference) for name, difference in row.differences.items()},
        "runs": [str(run.folder) for run in row.runs],
        "published": [entry.model_dump(include={"metrics", "source", "exclude_seen", "undertuned",
                                                  "read"}) for entry in [*row.published, *row.undertuned]],
        "fit_seconds": row.fit_seconds,
        "fit_device": row.device,
        "parameters": row.parameters,
    }
