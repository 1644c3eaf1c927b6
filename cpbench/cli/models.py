"""`cpbench models`."""


def command() -> None:
    """In preparation."""
