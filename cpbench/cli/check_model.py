"""`cpbench check-model`."""


def command() -> None:
    """In preparation."""
