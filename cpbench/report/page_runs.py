"""The runs behind a page's tables: where each is found on the page, and what its record says."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from cpbench.report.caption import protocol_text
from cpbench.report.evidence import Run
from cpbench.report.grid import information, seconds
from cpbench.report.record import FILE_NAME, RunRecord
from cpbench.report.tables import ComparisonTable, Row

IN_FULL = 300
"""With more runs, a page names each and links to its record, and leaves out what the record says."""


class Ids:
    """Ids of one page: letters, digits, dots and hyphens, none twice."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def new(self, text: str) -> str:
        base = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "x"
        found, number = base, self._numbers.get(base, 0)
        while found in self._numbers:
            number += 1
            found = f"{base}-{number + 1}"
        self._numbers[base] = number
        self._numbers.setdefault(found, 0)
        return found


class RunEntry(NamedTuple):
    """`facts` and `checksums` are (name, text); `settings` the configuration, (source, [key = value]). All three are
    empty where there are too many runs to say everything."""

    anchor: str
    seed: int
    command: str
    path: str
    """Of its folder, below the results folder."""
    href: str
    """Of its record.json, from the page."""
    facts: list[tuple[str, str]]
    settings: list[tuple[str, list[str]]]
    checksums: list[tuple[str, str]]


class RunGroup(NamedTuple):
    """The runs of one row: one model and one configuration, by seed."""

    anchor: str
    label: str
    protocol: str
    runs: list[RunEntry]


class Runs:
    """All runs of a page, each once, however many tables it stands in."""

    def __init__(self, tables: Sequence[ComparisonTable], results: str, ids: Ids) -> None:
        rows = [row for table in tables for row in table.all_rows]
        protocols = {table.protocol: protocol_text(table.protocol) for table in tables}
        self.all = list({run.folder: run for row in rows for run in row.runs}.values())
        self.in_full = len(self.all) <= IN_FULL
        self._results = results
        self._anchors = {run.folder: ids.new("run-" + below_results(run)) for run in self.all}
        self._groups: dict[Any, RunGroup] = {}
        shown: set[str] = set()
        for row in rows:
            key = self._key(row)
            if key not in self._groups:
                entries = [entry for run in row.runs if (entry := self._entry(run)).anchor not in shown]
                shown.update(entry.anchor for entry in entries)
                self._groups[key] = RunGroup(ids.new(f"runs-{len(self._groups) + 1}"), row.label,
                                             protocols[row.runs[0].record.protocol], entries)

    def group(self, row: Row) -> RunGroup:
        return self._groups[self._key(row)]

    def groups(self, tables: Iterable[ComparisonTable]) -> list[RunGroup]:
        """Of the rows of `tables`, each once."""
        return list({(group := self.group(row)).anchor: group for table in tables for row in table.all_rows}.values())

    def by_seed(self, row: Row) -> list[tuple[int, str]]:
        """(seed, anchor) of the runs of `row`."""
        return [(run.record.seed, self._anchors[run.folder]) for run in row.runs]

    @staticmethod
    def _key(row: Row) -> Any:
        return tuple(run.folder for run in row.runs)

    def _entry(self, run: Run) -> RunEntry:
        path = below_results(run)
        record = run.record
        href = f"{self._results}/{quote(path)}/{FILE_NAME}"
        anchor = self._anchors[run.folder]
        if not self.in_full:
            return RunEntry(anchor, record.seed, record.command, path, href, [], [], [])
        return RunEntry(anchor, record.seed, record.command, path, href, facts(record), settings(record),
                        sorted(record.checksums.items()))


def below_results(run: Run) -> str:
    """``DATASET/PROTOCOL/MODEL/RUN``."""
    return "/".join(run.folder.parts[-4:])


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """What a record says of its run beside command and configuration, in words."""
    cost, machine = record.cost, record.machine
    changed = {True: ", with uncommitted changes", False: ", without uncommitted changes", None: ""}[record.dirty]
    return [
        ("seed", str(record.seed)),
        ("recipe", record.recipe),
        ("sees", information(record)),
        *([("obeys the condition by", record.obeys)] if record.obeys else []),
        *((stage.name, f"{stage.epochs} epochs, {seconds(stage.fit_seconds)} s; saw {stage.saw}"
                       + (f"; run {stage.run}" if stage.run else "")) for stage in record.stages),
        *([
            ("epoch", _epoch(record)),
            ("time",
             f"{seconds(cost.fit_seconds)} s to fit, {seconds(cost.evaluate_seconds)} s to rank the test events"),
            ("peak memory", memory(cost.peak_rss_bytes)),
            ("parameters", f"{cost.parameters:,}"),
        ] if record.is_costed else []),
        ("looks at the test", str(record.test_looks)),
        ("started, finished", f"{moment(record.started)}, {moment(record.finished)}"),
        ("protocol", protocol_text(record.protocol)),
        ("data fingerprint", record.dataset_fingerprint),
        *([("not the official files", ", ".join(record.dataset_unofficial))] if record.dataset_unofficial else []),
        ("machine", f"{machine.cpu}, {machine.threads} thread{'s' * (machine.threads != 1)}, {machine.device}, "
                    f"{machine.system}{record.precision and f', trained in {record.precision}'}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
        ("commit", f"{record.commit}{changed}" if record.commit else "none: an installed package"),
    ]


def settings(record: RunRecord) -> list[tuple[str, list[str]]]:
    """The configuration by source, what was set by hand first and defaults last."""
    by_source: dict[str, list[str]] = {}
    for key, value in record.config.items():
        text = f"{key} = {value if isinstance(value, str) else json.dumps(value)}"
        by_source.setdefault(record.config_sources.get(key, "source not recorded"), []).append(text)
    places = {"--set": 0, "default": 2}
    return sorted(by_source.items(), key=lambda pair: (places.get(pair[0], 1), pair[0]))


def memory(size: int) -> str:
    """``895 MB``, ``1.3 GB``."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def moment(text: str) -> str:
    """``2026-11-25 16:50:46 UTC``, of ISO 8601."""
    return text.replace("T", " ", 1).removesuffix("+00:00") + " UTC" if text.endswith("+00:00") else text


def _epoch(record: RunRecord) -> str:
    if record.cost.epochs == 0:
        return "none: nothing is trained in epochs"
    chosen = f"chosen by {record.selected_by}" if record.selected_by else "what chose it is not recorded"
    clock = f"; stopped by {record.stopped_by}" if record.stopped_by else ""
    return f"{record.cost.best_epoch} of {record.cost.epochs}, {chosen}{clock}"
