"""`cpbench run`."""


def command() -> None:
    """In preparation."""
