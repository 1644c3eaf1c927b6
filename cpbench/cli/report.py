"""`cpbench report`."""


def command() -> None:
    """In preparation."""
