"""`cpbench datasets`: what there is, ready or not."""

from cpbench.cli.options import Json


def command(as_json: Json = False) -> None:
    """List the datasets."""
