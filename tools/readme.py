"""Writes what the records in results/reference say: the README's table, the figure beside it, and docs/results.md.

    python tools/readme.py            write all three
    python tools/readme.py --check    exit with 1 if one of them shows anything else than the records say
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cpbench.report.caption import footnotes
from cpbench.report.collect import collect, only
from cpbench.report.figures.intervals import draw
from cpbench.report.grid import grid
from cpbench.report.markdown import escape, pipe_table
from cpbench.report.record import FILE_NAME
from cpbench.report.significance import mark, with_statistics
from cpbench.report.tables import SORTED_BY, ComparisonTable, comparison_tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "reference"
README, TABLES = ROOT / "README.md", ROOT / "docs" / "results.md"
FIGURE = Path("docs/figures/amazon-beauty.svg")
BEGIN, END = "<!-- results: made by tools/readme.py -->", "<!-- results end -->"
DATASET, COLUMNS, OURS = "amazon-beauty", ("HR@10", "HR@50", "NDCG@10"), "climber-pilot"
PREFACE = """# Results

Every table of the records in `results/reference/` whose runs are a recipe as it stands, written by `make readme`: each
row compared with the best of its table. How to read them: [report](report.md); what they mean:
[findings](findings/README.md). Seconds are wall-clock of one thread while up to four trainings shared two cores (on a
GPU, sixteen): only a factor of three means something; [speed](speed.md) has measurements. With all metrics, figures
and variants: `cpbench report --results results/reference --out report`. The data were copies, not the official files:
[what that touches](data.md#the-data-behind-the-reference-results).
"""


def all_tables() -> list[ComparisonTable]:
    """By dataset and protocol, the plainest protocol first."""
    runs = only(collect(RESULTS)[0], [], recipes_only=True)
    return with_statistics(comparison_tables(runs)[0])[0]


def headline(tables: list[ComparisonTable]) -> str:
    """The first table of Amazon Beauty, the tuned models leave-one-out, as it stands in the README."""
    table = _first(tables)
    evidence = hashlib.sha256()
    for run in (run for row in table.rows for run in row.runs):
        evidence.update((run.folder / FILE_NAME).read_bytes())
    return "\n".join([
        BEGIN,
        "",
        pipe_table(table, COLUMNS),
        f"![NDCG@10 of every model on Amazon Beauty with its interval]({FIGURE})",
        "",
        *_folded(table),
        f"<!-- evidence {evidence.hexdigest()[:16]} -->",
        END,
    ])


def page(tables: list[ComparisonTable]) -> str:
    """docs/results.md: what there is, and every table."""
    return "\n".join([PREFACE, *_contents(tables), "", *(line for table in tables for line in (
        f"## {escape(grid(table).title)}", "", pipe_table(table, COLUMNS), *_folded(table)))])


def _contents(tables: list[ComparisonTable]) -> list[str]:
    """A line a table: its best row, and where Climber-Pilot stands."""
    lines = ["† differs from the best row, ≈ is not told apart from it.", "",
             f"| Table | best {SORTED_BY} | | Climber-Pilot |", "| --- | --- | ---: | ---: |"]
    for table in tables:
        title, best = grid(table).title, table.rows[0]
        own = next((row for row in table.rows if row.model == OURS), None)
        stands = f"{own.mean(SORTED_BY):.4f} {mark(own.differences.get(SORTED_BY))}".strip() if own else ""
        lines.append(f"| [{escape(title)}](#{_anchor(title)}) | {escape(best.label)} | {best.mean(SORTED_BY):.4f} | "
                     f"{stands} |")
    return lines


def _anchor(heading: str) -> str:
    """What GitHub calls the place of `heading`."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _first(tables: list[ComparisonTable]) -> ComparisonTable:
    return next(table for table in tables if table.dataset == DATASET)


def _folded(table: ComparisonTable) -> list[str]:
    notes = "  \n".join(map(escape, footnotes(table)))
    return ["<details><summary>What the table says exactly</summary>", "", notes, "", "</details>", ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        print(f"README.md lacks the lines {BEGIN} and {END}")
        return 1
    tables = all_tables()
    wanted = {README: before + headline(tables) + after, TABLES: page(tables)}
    if options.check:
        stale = [path.name for path, content in wanted.items()
                 if not path.is_file() or path.read_text(encoding="utf-8") != content]
        if stale or not (ROOT / FIGURE).is_file():
            print(f"{' and '.join(stale) or FIGURE} does not show what the records say: run `make readme`")
            return 1
        return 0
    with TemporaryDirectory() as folder:
        drawn = draw(_first(tables), Path(folder))
        if drawn is None:
            print("there is nothing to draw")
            return 1
        (ROOT / FIGURE).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / FIGURE).write_bytes(drawn.path("svg").read_bytes())
    for path, content in wanted.items():
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
