"""What `cpbench inspect` says of the datasets of a report, where this machine holds the very same data."""

from collections.abc import Iterable
from typing import Any

from cpbench.data import catalogue
from cpbench.data.describe import describe
from cpbench.errors import CpbenchError
from cpbench.report.tables import ComparisonTable


def inspected(tables: Iterable[ComparisonTable]) -> dict[str, dict[str, Any]]:
    """By fingerprint. Nothing is downloaded or generated for it; what is not there, or cannot be read, is left out."""
    wanted: dict[str, set[str]] = {}
    for table in tables:
        wanted.setdefault(table.dataset, set()).add(table.fingerprint)
    found: dict[str, dict[str, Any]] = {}
    for name, fingerprints in wanted.items():
        if name not in catalogue.known_names() or not catalogue.is_prepared(name):
            continue
        try:
            dataset = catalogue.load(name)
        except CpbenchError:
            continue
        if dataset.fingerprint in fingerprints:
            found[dataset.fingerprint] = describe(dataset)
    return found
