"""What a command asks of the user's own data, and whether the data that are prepared already are just that."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpbench.data import fetch
from cpbench.data.dataset import Dataset
from cpbench.data.recbole_files import items_beside, prepare_atomic
from cpbench.data.timestamps import Unit
from cpbench.data.user_files import ROLES, prepare_own
from cpbench.errors import UsageError


@dataclass(frozen=True)
class Own:
    """One `cpbench download NAME --from FILE ...` of own data."""

    name: str
    path: Path
    columns: Mapping[str, str] | None
    """Role: column of `path`; None: one of RecBole's files, which names them itself."""
    items: Path | None = None
    unit: Unit = "s"
    k_core: int = 0

    def prepare(self) -> Dataset:
        """The dataset, whose manifest holds the options. Raises UsageError for anything wrong with the files."""
        dataset = (prepare_atomic(self.name, self.path, self.items, self.unit, self.k_core) if self.columns is None
                   else prepare_own(self.name, self.path, self.columns, self.items, self.unit, self.k_core))
        dataset.manifest["options"] = self._options()
        return dataset

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Raise UsageError unless the data of `manifest` came from the same contents with the same options.

        What an older manifest does not tell is taken to agree. Raises UsageError, too, for a file that is not there.
        """
        before = {"k-core": manifest.get("filters", {}).get("k_core", self.k_core), **manifest.get("options", {})}
        now = {"k-core": self.k_core, **self._options()}
        differing = [f"--{option} was {before[option]}, now {now[option]}"
                     for option in now if before.get(option, now[option]) != now[option]]
        if "sources" in manifest:
            known = {source["role"]: source for source in manifest["sources"]}
            items = items_beside(self.path) if self.items is None and self.columns is None else self.items
            differing += _difference("from", self.path, known.get("interactions"))
            differing += _difference("items", items, known.get("items"))
        if differing:
            raise UsageError(f"{self.name!r} is prepared already, but otherwise ({'; '.join(differing)}): add --force "
                             "to prepare it again, or choose another name")

    def _options(self) -> dict[str, str]:
        columns = {} if self.columns is None else {
            "columns": ",".join(f"{role}={self.columns[role]}" for role in ROLES)}
        return {**columns, "time-unit": self.unit}


def _difference(option: str, file: Path | None, before: Mapping[str, Any] | None) -> list[str]:
    """What sets `file` apart from the source `before`, in at most one entry."""
    if file is None:
        return [f"--{option} was {before['from']}, now none"] if before else []
    found = fetch.checksum(file)
    if before is None:
        return [f"--{option} was none, now {file}"]
    return [] if found == before["checksum"] else [f"--{option} {file} has other contents"]
