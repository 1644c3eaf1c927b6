"""`cpbench export-data`: a prepared dataset in another library's format."""

from pathlib import Path
from typing import Annotated

import typer

from cpbench.cli.console import Output
from cpbench.cli.options import Force, Json, Quiet

EPILOG = """Examples:

`cpbench export-data ml-1m --format recbole`  writes ml-1m/ml-1m.inter and ml-1m/ml-1m.item

`cpbench download again --from ml-1m/ml-1m.inter`  reads them back"""


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prepared dataset.")],
    form: Annotated[str, typer.Option("--format", metavar="recbole", help="recbole: its atomic files.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to (default: ./NAME).")] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a prepared dataset, with its original ids, as files that another library reads."""
    from cpbench.data import catalogue, recbole_files
    from cpbench.errors import unknown

    if form != "recbole":
        raise unknown("format", form, ["recbole"])
    output = Output(as_json, quiet)
    dataset = catalogue.load(name)
    paths = [str(path) for path in recbole_files.export(dataset, out or Path(name), force)]
    output.result({"name": name, "format": form, "files": paths}, "\n".join(paths))
    output.note(f"{name}: {dataset.manifest.get('licence', 'licence not known')}")
