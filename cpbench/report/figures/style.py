"""One style for all figures, and what a drawn figure is.

Sizes are those of print: COLUMN is a column of a two-column page, no text is smaller than 7 pt, nothing is scaled.
Nothing of the machine enters a file: no date, no user's matplotlibrc, no random identifiers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from cpbench.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS = ("png", "svg", "pdf")
COLUMN, WIDE, PAGE = 3.4, 5.2, 7.0
"""Widths in inches: one column, one and a half for what has long labels, and both."""
SMALL, TEXT = 7.0, 8.0
"""Points: ticks and labels within the axes, and all else."""
DOTS = 220
"""PNG pixels an inch: a column is as wide as GitHub shows it."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999", "#B8A900",
           "#7F3C8D")
"""Okabe and Ito's first (their yellow darkened, for white paper): told apart by colour-blind readers; in print, and
beyond ten, by MARKERS."""
MARKERS = "os^DvP*Xhdp"
GREY = "0.45"
"""Of secondary text; 4.5 : 1 against white."""
FAINT = "0.7"
"""Of lines that only guide the eye."""
CONTRAST = 4.5
"""Of text against white at the least (WCAG AA)."""
SETTINGS: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": TEXT, "axes.titlesize": TEXT, "axes.labelsize": TEXT,
    "figure.titlesize": TEXT, "figure.labelsize": TEXT,
    "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "xtick.minor.size": 0, "ytick.minor.size": 0,
    "lines.linewidth": 1.1, "lines.markersize": 3.2, "errorbar.capsize": 1.5,
    "grid.color": "0.9", "grid.linewidth": 0.5, "figure.facecolor": "white", "savefig.facecolor": "white",
    "text.parse_math": False,  # "$" in a label is a dollar
    "axes.formatter.use_mathtext": False, "svg.hashsalt": "cpbench", "pdf.fonttype": 42,
}


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


def colour(number: int) -> str:
    """Of the row or line of that number."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """Of the row or line of that number; repeats later than the colours, so that the pairs are all different."""
    return MARKERS[number % len(MARKERS)]


def ink(line_colour: str) -> tuple[float, float, float]:
    """`line_colour`, darkened until text in it can be read on white."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(line_colour)
    while 1.05 / (_luminance(red, green, blue) + 0.05) < CONTRAST:
        red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
    return red, green, blue


def _luminance(*channels: float) -> float:
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save within this, or with it as a decorator: the style is set, and afterwards what was set before."""
    from matplotlib import rc_context, rcdefaults, rcParams

    with rc_context():
        rcdefaults()
        rcParams.update(SETTINGS)
        yield


def blank(width: float, height: float) -> "Figure":
    """An empty figure of `width` x `height` inches. Never through pyplot, which keeps figures for ever."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def title(figure: "Figure", text: str) -> None:
    """Over the whole figure, on as many lines as it needs; the figure grows by those after the first."""
    lines = wrap(text, int(figure.get_figwidth() * 16.5))
    figure.set_figheight(figure.get_figheight() + 0.13 * (len(lines) - 1))
    figure.suptitle("\n".join(lines))


@styled()
def save(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write ``NAME.png``, ``NAME.svg`` and ``NAME.pdf`` into `folder`, each whole; the same figure is the same bytes.

    Raises CpbenchError when they cannot be written.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not once a file
    paths = [folder / f"{name}.{form}" for form in FORMS]
    for path, form in zip(paths, FORMS, strict=True):
        drawn = BytesIO()  # matplotlib hides what is wrong with a file (a full disk) behind errors of its own
        figure.savefig(drawn, format=form, dpi=DOTS, metadata=_without_date(form))
        with atomic_file(path) as temporary:
            temporary.write_bytes(drawn.getvalue())
    return paths


def _without_date(form: str) -> dict[str, Any]:
    return {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
