"""One style for all figures, and what a drawn figure is."""

from pathlib import Path
from typing import NamedTuple


class Drawn(NamedTuple):
    """A figure on disk, as PNG, SVG and PDF."""

    name: str
    """File name without suffix."""
    dataset: str
    title: str
    caption: str
    """What is seen and what the uncertainty is, in a sentence or two; also its text alternative."""
    paths: list[Path]

    def path(self, form: str) -> Path:
        """The file of the form ``png``, ``svg`` or ``pdf``."""
        return next(path for path in self.paths if path.suffix == f".{form}")
