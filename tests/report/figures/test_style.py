import errno
from pathlib import Path

import matplotlib
import pytest
from matplotlib.colors import to_rgb

from cpbench.errors import CpbenchError
from cpbench.report.figures.style import COLOURS, COLUMN, CONTRAST, Drawn, blank, ink, save, styled, title


def luminance(colour) -> float:
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@styled()
def price():
    figure = blank(COLUMN, 2)
    axes = figure.subplots()
    axes.plot([1, 2], [3, 4], label="$a_1$")
    axes.set_title("costs 5 $ or \\frac $x$")
    title(figure, "a title " * 12)
    return figure


@pytest.mark.parametrize("colour", COLOURS)
def test_text_in_every_colour_can_be_read_on_white(colour):
    assert 1.05 / (luminance(ink(colour)) + 0.05) >= CONTRAST
    assert ink("#000000") == (0, 0, 0)


def test_the_same_figure_is_the_same_three_files_and_a_dollar_is_a_dollar(tmp_path):
    first = [path.read_bytes() for path in save(price(), tmp_path / "a", "price")]
    assert [path.name for path in sorted((tmp_path / "a").iterdir())] == ["price.pdf", "price.png", "price.svg"]
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "x", "axes.grid": True}):
        second = [path.read_bytes() for path in save(price(), tmp_path / "b", "price")]
    assert first == second
    assert b"costs 5 $ or" in first[1] and b"CreationDate" not in first[2] and b"<dc:date>" not in first[1]


def test_the_style_leaves_no_trace():
    before = dict(matplotlib.rcParams)
    price()
    assert dict(matplotlib.rcParams) == before


def test_sizes_are_those_of_print(tmp_path):
    paths = save(price(), tmp_path, "price")
    assert f'width="{COLUMN * 72:g}pt"' in paths[1].read_text()
    with styled():
        assert matplotlib.rcParams["xtick.labelsize"] >= 7 and matplotlib.rcParams["font.size"] >= 7


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CpbenchError, match="cannot write"):
        save(price(), tmp_path / "file", "price")


def test_a_full_disk_is_said_as_such(tmp_path, monkeypatch):
    """Not as the AttributeError that matplotlib's writer of PDF makes of it."""
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CpbenchError, match="No space left on device"):
        save(price(), tmp_path, "price")


def test_a_drawn_figure_knows_its_files(tmp_path):
    drawn = Drawn("price", "tiny", "t", "c", save(price(), tmp_path, "price"))
    assert drawn.path("pdf") == tmp_path / "price.pdf"
