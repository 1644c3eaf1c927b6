"""`cpbench verify`: does what is recorded follow from what lies beside the records?"""

from typing import Annotated

import typer

from cpbench.cli.options import RUN, Json, Quiet, Results
from cpbench.files import RESULTS

EPILOG = """Examples:

`cpbench verify`  every run that is recorded

`cpbench verify results/reference/streaming/leave-one-out,seen=kept/climber-pilot/tuned-seed1`  one run

`cpbench verify --results results/reference --json`"""


def command(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help=f"{RUN} Without it, all runs.")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recompute the metrics of recorded runs from their ranks, and say what cannot be trusted.

    HR, NDCG and MRR are recomputed, at every step of a horizon and in every stage of a run with a condition; epochs and
    validation metrics are compared with the learning curve, names with the folder's, files with the checksums that
    records hold since 2026-11-25. Thirds of the events (HR@10/low) must give the whole together. Not checked: which
    events each third holds and the fingerprint (they need the data), metrics of lists such as coverage and CC (they
    need the model), settings, times and machine. Exit status 1 when something does not follow.
    """
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from cpbench.cli.console import Output
    from cpbench.report.collect import no_record
    from cpbench.report.named import find_run
    from cpbench.report.record import run_folders
    from cpbench.report.verify import verify

    output = Output(as_json, quiet)
    folders = [find_run(run, results)] if run is not None else run_folders(results)
    if not folders:
        raise no_record(results)
    verdicts = [verify(folder) for folder in folders]
    bad = [verdict for verdict in verdicts if verdict.problems]
    table = Table("run", "what is wrong", "what is to be known")
    for column in table.columns:
        column.overflow = "fold"
    for verdict in verdicts:
        if verdict.problems or verdict.remarks:
            table.add_row(escape(str(verdict.folder)), escape("\n".join(verdict.problems)),
                          escape("\n".join(verdict.remarks)))
    count = f"{len(verdicts)} run{'s' * (len(verdicts) > 1)}"
    output.note(f"{count}, {sum(verdict.recomputed for verdict in verdicts):,} metrics recomputed from their ranks, "
                f"the files of {sum(verdict.sealed for verdict in verdicts)} compared with recorded checksums")
    summary = (f"{len(bad)} of {count} cannot be trusted" if bad else
               f"{count}: all recomputed metrics follow from the ranks")
    output.result({"runs": [verdict.document() for verdict in verdicts], "wrong": len(bad)},
                  Group(table, summary) if table.row_count else summary)
    if bad:
        raise typer.Exit(1)
