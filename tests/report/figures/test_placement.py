import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpbench.report.figures.placement import label_ends, label_points, spread
from cpbench.report.figures.style import COLUMN, blank, styled

HEIGHTS = st.lists(st.tuples(st.floats(0, 100), st.floats(1, 20)), min_size=1, max_size=8)


@given(HEIGHTS)
def test_spread_labels_do_not_overlap_and_stay_within_where_there_is_room(labels):
    wanted, heights = np.array(labels).T
    found = spread(wanted, heights, 0, 200)
    order = np.argsort(found)
    gaps = np.diff(found[order]) - (heights[order][1:] + heights[order][:-1]) / 2
    assert (gaps > -1e-6).all()
    assert (found - heights / 2 > -1e-6).all() and (found + heights / 2 < 200 + 1e-6).all()
    assert (np.diff(found[np.argsort(wanted, kind="stable")]) >= -1e-9).all()


def test_what_does_not_touch_is_not_moved():
    assert spread(np.array([50.0, 10.0]), np.array([8.0, 8.0]), 0, 100).tolist() == [50.0, 10.0]
    assert spread(np.array([50.0, 50.0]), np.array([8.0, 8.0]), 0, 100).tolist() == [46.0, 54.0]


def overlaps(texts) -> int:
    boxes = [text.get_window_extent() for text in texts]
    return sum(one.padded(-1).overlaps(other.padded(-1)) for place, one in enumerate(boxes) for other in boxes[:place])


@styled()
@pytest.mark.parametrize("labelled", [label_ends, label_points])
def test_labels_of_points_that_nearly_coincide_are_apart(labelled):
    axes = blank(COLUMN, 2.5).subplots()
    points = [(1.0, 0.5 + 0.001 * number, f"model {number}", "#E69F00") for number in range(5)]
    axes.plot([0, *(x for x, *_ in points), 2], [0, *(y for _, y, *_ in points), 1])
    texts = labelled(axes, points)
    assert [text.get_text() for text in texts] == [label for *_, label, _ in points]
    assert overlaps(texts) == 0


def test_nothing_to_label_is_nothing():
    assert label_ends(blank(COLUMN, 2).subplots(), []) == []
