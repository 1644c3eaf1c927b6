"""Runs what is missing of the reference grid (results/reference/grid.toml), cheapest first; interrupted, it continues.

    python tools/reference_grid.py                    run all that is missing
    python tools/reference_grid.py --at-most 5        only runs estimated at five minutes or less
    python tools/reference_grid.py --jobs 16          so many at a time: small models leave a GPU mostly idle
    python tools/reference_grid.py --list             say what is missing and what it would cost, as Markdown

The data must be prepared (`cpbench download`), and the sources committed: a record says when they were changed.
"""

import argparse
import os
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from cpbench.errors import CpbenchError
from cpbench.experiments.plan import Cell, plan
from cpbench.report.record import FILE_NAME, load_record

ROOT = Path(__file__).parents[1]
RESULTS = Path("results/reference")
SHORT = 5
"""Minutes below which a run is repeated with more seeds."""


class WantedRun(NamedTuple):
    minutes: float
    dataset: str
    model: str
    recipe: str
    seed: int
    split: str
    lags: tuple[int, ...]
    """Protocols that share the training."""

    @property
    def arguments(self) -> list[str]:
        return ["run", "--model", self.model, "--dataset", self.dataset, "--recipe", self.recipe, "--seeds",
                str(self.seed), "--split", self.split, "--serving-lag", ",".join(map(str, self.lags)),
                "--results", str(RESULTS)]

    def missing(self) -> "WantedRun | None":
        """What of it has no record, or that of another recipe."""
        cells = plan([self.model], [self.dataset], [self.seed], self.recipe, split=self.split, serving_lags=self.lags)
        lags = tuple(cell.protocol.serving_lag for cell in cells if not _is_done(cell))
        return self._replace(lags=lags) if lags else None


def _is_done(cell: Cell) -> bool:
    folder = cell.folder(RESULTS)
    return (folder / FILE_NAME).is_file() and cell.has_settings(load_record(folder).config)


def grid(document: dict[str, Any]) -> Iterator[WantedRun]:
    for dataset, models in document["minutes"].items():
        for name, minutes in models.items():
            model, _, recipe = name.partition("/")
            once = model in document["once"]
            seeds = [1] if once else document["seeds"] + (document["more_seeds"] if minutes < SHORT else [])
            main = model in document["main"] and not recipe
            for split, lags in document["protocols" if main else "protocol"].items():
                for seed in seeds:
                    yield WantedRun(minutes, dataset, model, recipe or "tuned", seed, split, tuple(lags))


def listing(missing: list[WantedRun]) -> str:
    """A Markdown table: one line a dataset, model, recipe, split and set of lags."""
    lines = ["| dataset | model | recipe | split | lag, s | seeds | minutes |", "|---|---|---|---|---|---|---:|"]
    groups: dict[tuple[str, ...], list[WantedRun]] = defaultdict(list)
    for run in missing:
        groups[run.dataset, run.model, run.recipe, run.split, ", ".join(map(str, run.lags))].append(run)
    for key, runs in groups.items():
        lines.append(f"| {' | '.join(key)} | {', '.join(str(run.seed) for run in runs)} | "
                     f"{sum(run.minutes for run in runs):,.0f} |")
    hours = sum(run.minutes for run in missing) / 60
    return "\n".join([*lines, "", f"{sum(len(run.lags) for run in missing)} runs are missing, from {len(missing)} "
                      f"trainings: about {hours:,.0f} hours of one core."])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--at-most", type=float, metavar="MINUTES", default=float("inf"))
    parser.add_argument("--dataset", help="only this one")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each with its share of the cores")
    options = parser.parse_args()
    os.chdir(ROOT)  # records name their command: relative, so that it can be repeated elsewhere
    document = tomllib.loads((RESULTS / "grid.toml").read_text(encoding="utf-8"))
    if options.dataset not in (None, *document["minutes"]):
        parser.error(f"{options.dataset!r} is not in {RESULTS / 'grid.toml'}: it has {', '.join(document['minutes'])}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {options.jobs}")
    wanted = [run for run in grid(document) if run.minutes <= options.at_most
              and options.dataset in (None, run.dataset)]
    missing = [left for run in wanted if (left := run.missing())]
    if options.list:
        print(listing(missing))
        return 0
    missing.sort(key=lambda run: run.minutes * run.seed)  # cheap first, later seeds later
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // options.jobs))} if options.jobs > 1 else {}

    def succeeds(run: WantedRun) -> bool:
        return subprocess.run([sys.executable, "-m", "cpbench", *run.arguments], check=False,
                              env=threads | os.environ).returncode == 0

    pool = ThreadPoolExecutor(options.jobs)
    try:
        return 0 if all(list(pool.map(succeeds, missing))) else 1
    finally:
        pool.shutdown(cancel_futures=True)  # interrupted: nothing new is begun


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CpbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
