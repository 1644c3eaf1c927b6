"""The command line: wires one file a command, and turns every failure into one sentence and an exit status."""

import errno
import io
import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from cpbench import __version__
from cpbench.cli import (
    ablate,
    bench,
    check_model,
    datasets,
    diff,
    download,
    eval,
    export_data,
    inspect,
    models,
    recommend,
    report,
    run,
    simulate,
    tune,
    verify,
)
from cpbench.cli.console import visible
from cpbench.errors import CpbenchError, on_one_line
from cpbench.files import CONTROL

app = typer.Typer(
    name="cpbench",
    help="Honest benchmarks for sequential and generative recommendation.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for name, module, panel in (
    ("download", download, "Data"),
    ("datasets", datasets, "Data"),
    ("inspect", inspect, "Data"),
    ("export-data", export_data, "Data"),
    ("models", models, "Models"),
    ("check-model", check_model, "Models"),
    ("run", run, "Experiments"),
    ("tune", tune, "Experiments"),
    ("ablate", ablate, "Experiments"),
    ("eval", eval, "Experiments"),
    ("report", report, "Experiments"),
    ("recommend", recommend, "Experiments"),
    ("simulate", simulate, "Experiments"),
    ("diff", diff, "Experiments"),
    ("verify", verify, "Experiments"),
):
    app.command(name, rich_help_panel=panel, epilog=getattr(module, "EPILOG", None))(module.command)
app.add_typer(bench.app, name="bench", rich_help_panel="Experiments")


def _version(show: bool) -> None:
    if show:
        sys.stdout.write(f"cpbench {__version__}\n")
        raise typer.Exit


@app.callback()
def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                      help="Print the version.")) -> None:
    """Honest benchmarks for sequential and generative recommendation."""


def fail(message: str, status: int) -> None:
    console = Console(stderr=True, emoji=False)
    line = " ".join(visible(message).splitlines())
    console.print(f"[bold red]error:[/] {escape(line)}", highlight=False, soft_wrap=True)
    sys.exit(status)


def _is_no_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # bytes that the shell passed on
        return True
    return CONTROL.search(argument) is not None


def _panic() -> type[BaseException]:
    """What polars raises beside exceptions, if anything has imported it: to import it takes as long as all else."""
    polars = sys.modules.get("polars.exceptions")
    return polars.PanicException if polars else Exception


def main() -> None:
    """Run the command line. Exit status 0 done, 1 a failed run, 2 bad usage or input, 130 interrupted."""
    if sys.stdout is None:
        fail("standard output is closed: there is nowhere to print to", 1)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file or pipe gets UTF-8, as all files of a report are written
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="replace")
    for argument in filter(_is_no_text, sys.argv[1:]):  # arguments end in records
        fail(f"the argument {argument!r} holds control characters, or bytes that are not UTF-8 text", 2)
    try:
        status = app(standalone_mode=False)
        if status == 130:  # typer ends an interrupted command without a word
            raise KeyboardInterrupt
        sys.exit(status if isinstance(status, int) else 0)
    except CpbenchError as error:
        fail(str(error), error.exit_code)
    except typer.TyperException as error:
        if not error.format_message():  # no arguments: the help was shown
            sys.exit(error.exit_code)
        context = getattr(error, "ctx", None)
        hint = f" (see `{context.command_path} --help`)" if context else ""
        fail(f"{error.format_message()}{hint}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        again = "starts anew (--force)" if "--force" in sys.argv else "continues"
        fail(f"interrupted; nothing half-written was left, the same command {again}", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except (Exception, _panic()) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            fail(f"standard output cannot be written: {error.strerror}", 1)
        if os.environ.get("CPBENCH_DEBUG"):
            raise
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            fail(f"this needs more memory than there is ({on_one_line(error)})", 1)
        fail(f"{on_one_line(error)} (this is a bug in cpbench; set CPBENCH_DEBUG=1 for the details)", 1)
