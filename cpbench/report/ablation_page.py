"""The files of an ablation: ``table.md``, ``table.json`` and the figure, each written whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpbench.data.dataset import Dataset
from cpbench.data.describe import lags
from cpbench.files import atomic_file, write_json
from cpbench.report.ablation import TEST, AblationRow, as_document, as_markdown
from cpbench.report.ablation_figure import draw

if TYPE_CHECKING:
    from cpbench.experiments.ablations import Ablation


@dataclass(frozen=True)
class AblationPage:
    markdown: str
    document: dict[str, Any]
    files: dict[str, Path]


def write_page(ablation: "Ablation", dataset: Dataset, rows: Sequence[AblationRow], folder: Path) -> AblationPage:
    """Write the table and the figure of `rows` into `folder`. Raises CpbenchError when it cannot be written."""
    text = (f"# {ablation.name} on {dataset.name}\n\nThe paper: {ablation.claim}\n\n"
            + as_markdown(rows, ablation.metrics, ablation.reference, ablation.paper)
            + (f"\nPaper: {ablation.source}.\n" if ablation.source else ""))
    document = {"ablation": ablation.name, "dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint,
                "claim": ablation.claim, "reference": ablation.reference, "rows": as_document(rows),
                "paper": {label: dict(figures) for label, figures in ablation.paper.items()},
                "paper_source": ablation.source, "test": TEST}
    figures = draw(ablation.name, f"{ablation.name}: {dataset.name}", rows, folder,
                   lags(dataset) if ablation.name == "window" else None)
    files = {"table": folder / "table.md", "numbers": folder / "table.json", "figure": figures[0]}
    with atomic_file(files["table"]) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_json(files["numbers"], document)
    return AblationPage(text, {**document, "files": {kind: str(path) for kind, path in files.items()}}, files)
