"""Labels beside lines and points instead of legends, moved until they do not cover each other."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from cpbench.report.figures.style import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

GAP = 4.0  # points between a line's end or a point and its label


def label_ends(axes: "Axes", ends: Sequence[tuple[float, float, str, str]]) -> list["Annotation"]:
    """Write labels at the right ends of lines, given as (x, y, label, colour); call it when all else is drawn.

    Labels that would overlap move up or down, as little as possible; a moved one is tied to its line by a hair.
    """
    right = max((x for x, *_ in ends), default=0.0)
    texts = [axes.annotate(label, (right, y), xytext=(GAP, 0), textcoords="offset points", va="center", color=colour,
                           fontsize=SMALL, annotation_clip=False) for _, y, label, colour in ends]
    if not texts:
        return texts
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    point = figure.dpi / 72
    bottom, top = axes.bbox.y0 / point, axes.bbox.y1 / point
    wanted = np.array([axes.transData.transform((right, y))[1] for _, y, *_ in ends]) / point
    heights = np.array([text.get_window_extent().height for text in texts]) / point
    for text, shift in zip(texts, _spread(wanted, heights, bottom, top) - wanted, strict=True):
        tied = abs(shift) > SMALL / 2
        text.set_position((GAP + 5 * tied, shift))
        if tied:
            tie = axes.annotate("", text.xy, xytext=(GAP + 4, shift), textcoords="offset points",
                                annotation_clip=False,
                                arrowprops={"arrowstyle": "-", "color": text.get_color(), "linewidth": 0.4,
                                            "shrinkA": 0, "shrinkB": 1})
            tie.set_in_layout(False)
    return texts


def _spread(wanted: np.ndarray, heights: np.ndarray, bottom: float, top: float) -> np.ndarray:
    """Centres near `wanted` whose intervals of `heights` do not overlap, within [bottom, top] where there is room.

    Clusters of touching labels are merged and centred on the mean of what they want (pool adjacent violators).
    """
    order = np.argsort(wanted, kind="stable")
    clusters: list[tuple[list[int], float]] = []
    for place in order:
        members, centre = [int(place)], float(wanted[place])
        while clusters and clusters[-1][1] + heights[clusters[-1][0]].sum() / 2 > centre - heights[members].sum() / 2:
            earlier, _ = clusters.pop()
            members = earlier + members
            starts = np.cumsum(heights[members]) - heights[members] / 2
            size = heights[members].sum()
            centre = float(np.mean(wanted[members] - starts) + size / 2)
            centre = max(min(centre, top - size / 2), bottom + size / 2)
        clusters.append((members, centre))
    found = np.empty(len(wanted))
    for members, centre in clusters:
        found[members] = centre - heights[members].sum() / 2 + np.cumsum(heights[members]) - heights[members] / 2
    return found


def label_points(axes: "Axes", points: Sequence[tuple[float, float, str, str]]) -> list["Annotation"]:
    """Write labels beside points, given as (x, y, label, colour); call it when all else is drawn.

    Each goes where, of many places around its point, it covers least: labels, points, the frame. One that ends up
    far from its point is tied to it.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    texts = [axes.annotate(label, (x, y), xytext=(0, 0), textcoords="offset points", va="bottom", color=colour,
                           fontsize=SMALL, annotation_clip=False) for x, y, label, colour in points]
    for text in texts:
        text.set_in_layout(False)
    figure.draw_without_rendering()
    point = figure.dpi / 72
    frame = axes.bbox
    centres = [axes.transData.transform((x, y)) for x, y, *_ in points]
    taken = [_box(x - 2.5 * point, y - 2.5 * point, 5 * point, 5 * point) for x, y in centres]
    for text, (x, y), own in zip(texts, centres, list(taken), strict=True):
        extent = text.get_window_extent()
        places = list(_places(extent.width, extent.height, point))
        costs = [_cost(_box(x + dx, y + dy, extent.width, extent.height), [box for box in taken if box is not own],
                       frame) + 0.02 * rank * point**2 for rank, (dx, dy) in enumerate(places)]
        dx, dy = places[int(np.argmin(costs))]
        text.set_position((dx / point, dy / point))
        taken.append(_box(x + dx, y + dy, extent.width, extent.height))
        nearest_x, nearest_y = np.clip(0, dx, dx + extent.width), np.clip(0, dy, dy + extent.height)
        if np.hypot(nearest_x, nearest_y) > 2.5 * GAP * point:
            axes.annotate("", text.xy, xytext=(nearest_x / point, nearest_y / point), textcoords="offset points",
                          arrowprops={"arrowstyle": "-", "color": text.get_color(), "linewidth": 0.4, "shrinkA": 0,
                                      "shrinkB": 2})
    return texts


def _places(width: float, height: float, point: float) -> list[tuple[float, float]]:
    """Lower left corners of a label relative to its point, in pixels, the best first: right, left, above, below,
    corners, then further away."""
    found = []
    for distance in (GAP, 2 * GAP, 4 * GAP, 6 * GAP):
        gap = distance * point
        middle = (-width / 2, -height / 2)
        beside = {-1: (-width - gap, -height - gap), 0: middle, 1: (gap, gap)}
        ways = sorted(product((1, -1, 0), (0, 1, -1)), key=lambda way: abs(way[0]) + abs(way[1]))
        found += [(beside[across][0], beside[up][1]) for across, up in ways if (across, up) != (0, 0)]
    return found


def _box(x: float, y: float, width: float, height: float) -> "Bbox":
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x, y, width, height)


def _cost(box: "Bbox", taken: Sequence["Bbox"], frame: "Bbox") -> float:
    """Square pixels covered twice or outside of `frame`."""
    outside = box.width * box.height - _common(box, frame)
    return outside * 2 + sum(_common(box, other) for other in taken)


def _common(one: "Bbox", other: "Bbox") -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0.0) * max(height, 0.0)
