"""Writes the README's results from the records in results/reference: the table, and the figure beside it.

    python tools/readme.py            write both
    python tools/readme.py --check    exit with 1 if the README shows anything else than the records say
"""

import argparse
import hashlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cpbench.report.caption import footnotes
from cpbench.report.collect import collect, only
from cpbench.report.figures.intervals import draw
from cpbench.report.markdown import escape, pipe_table
from cpbench.report.record import FILE_NAME
from cpbench.report.significance import with_statistics
from cpbench.report.tables import ComparisonTable, comparison_tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "reference"
FIGURE = Path("docs/figures/amazon-beauty.svg")
BEGIN, END = "<!-- results: made by tools/readme.py -->", "<!-- results end -->"
DATASET, COLUMNS = "amazon-beauty", ("HR@10", "NDCG@10")


def headline() -> ComparisonTable:
    """The tuned models on Amazon Beauty, leave-one-out, each compared with the best."""
    runs = only(collect(RESULTS, [DATASET])[0], [], recipes_only=True)
    plain = [run for run in runs if run.record.protocol.split == "leave-one-out" and not run.record.protocol.serving_lag
             and run.record.protocol.horizon == 1 and run.record.protocol.condition is None]
    (table, *_), _ = with_statistics(comparison_tables(plain)[0])
    return table


def block(table: ComparisonTable) -> str:
    evidence = hashlib.sha256()
    for run in (run for row in table.rows for run in row.runs):
        evidence.update((run.folder / FILE_NAME).read_bytes())
    return "\n".join([
        BEGIN,
        "",
        pipe_table(table, COLUMNS),
        f"![NDCG@10 of every model on Amazon Beauty with its interval]({FIGURE})",
        "",
        "<details><summary>What the table says exactly</summary>",
        "",
        "  \n".join(map(escape, footnotes(table))),
        "",
        "</details>",
        "",
        f"<!-- evidence {evidence.hexdigest()[:16]} -->",
        END,
    ])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    table, readme = headline(), ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        print(f"README.md lacks the lines {BEGIN} and {END}")
        return 1
    wanted = before + block(table) + after
    if options.check:
        if text != wanted or not (ROOT / FIGURE).is_file():
            print("README.md does not show what the records say: run `make readme`")
            return 1
        return 0
    with TemporaryDirectory() as folder:
        drawn = draw(table, Path(folder))
        if drawn is None:
            print("there is nothing to draw")
            return 1
        (ROOT / FIGURE).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / FIGURE).write_bytes(drawn.path("svg").read_bytes())
    readme.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
