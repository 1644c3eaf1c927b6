"""What a command prints: one JSON document or tables on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape

from cpbench.files import CONTROL, finite

PIPE_WIDTH = 200  # a file or a pipe has no edge


def visible(text: str) -> str:
    """`text` where control characters, which names in data files may hold, are written out and steer no terminal.

    >>> visible("a\\x1b[31m")
    'a\\\\x1b[31m'
    """
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class Output:
    """Standard output for results, standard error for everything else. Rich honours NO_COLOR itself.

    Under --json what a model itself prints goes to standard error, too: the document stands alone.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.answers = sys.stdout
        if as_json:
            sys.stdout = sys.stderr
        self.out = Console(emoji=False)  # else the name a:b:c is printed as a, a picture and c
        if not self.out.is_terminal:
            self.out.width = PIPE_WIDTH
        self.err = Console(stderr=True, emoji=False)

    def note(self, text: str) -> None:
        """A line for the person watching (standard error); silent under --quiet. Plain text: markup is escaped."""
        if not self.quiet:
            self.err.print(escape(visible(text)), highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line that --quiet does not silence."""
        self.err.print(f"[yellow]warning:[/] {escape(visible(text))}", highlight=False, soft_wrap=True)

    def result(self, document: Any, view: RenderableType | str) -> None:
        """The command's answer: `document` under --json, else `view` (a string is printed as it stands)."""
        if self.as_json:
            self.answers.write(json.dumps(finite(document), ensure_ascii=False) + "\n")
            self.answers.flush()  # an error of it would pass unseen at the end of the process
        elif isinstance(view, str):
            sys.stdout.write(view if view.endswith("\n") else view + "\n")
        else:
            self.out.print(view)

    @contextmanager
    def progress(self, *columns: Any) -> Iterator[Any]:
        """A rich Progress on standard error, hidden under --quiet and where no terminal watches."""
        from rich.progress import Progress

        with Progress(*columns, console=self.err, disable=self.quiet or not self.err.is_terminal,
                      transient=True) as progress:
            yield progress
