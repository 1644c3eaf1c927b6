"""Labels beside lines and points instead of legends, moved until they do not cover each other."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from cpbench.report.figures.style import SMALL, ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

GAP = 4.0  # points between a line's end or a point and its label
TIE = 5.0  # points that a hair bridges beside it
Labelled = tuple[float, float, str, str]
"""x and y in data, label, colour."""
Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""
Segment = tuple[tuple[float, float], tuple[float, float]]


def label_ends(axes: "Axes", ends: Sequence[Labelled]) -> list["Annotation"]:
    """Write labels at the right of lines that end at (x, y); call it when all else is drawn.

    Labels that would overlap move up or down, as little as possible, and are then tied to their lines by hairs.
    """
    if not ends:
        return []
    right = max(x for x, *_ in ends)
    texts = [axes.annotate(label, (right, y), xytext=(GAP, 0), textcoords="offset points", va="center",
                           color=ink(colour), fontsize=SMALL, annotation_clip=False) for _, y, label, colour in ends]
    figure: Any = axes.get_figure(root=True)
    laid_out(figure)
    point = figure.dpi / 72
    wanted = np.array([axes.transData.transform((right, y))[1] for _, y, *_ in ends]) / point
    heights = np.array([text.get_window_extent().height for text in texts]) / point
    moves = spread(wanted, heights, axes.bbox.y0 / point, axes.bbox.y1 / point) - wanted
    tied = bool((np.abs(moves) > SMALL / 3).any())
    for text, move, (x, y, *_) in zip(texts, moves, ends, strict=True):
        text.set_position((GAP + TIE * tied, move))
        if x < right:
            _hair(axes, (x, y), text, (0.0, 0.5), gap=GAP, dotted=True)
        elif tied:
            _hair(axes, (x, y), text, (0.0, 0.5), gap=GAP / 2)
    return texts


def spread(wanted: np.ndarray, heights: np.ndarray, bottom: float, top: float) -> np.ndarray:
    """Centres near `wanted` whose intervals of `heights` do not overlap, within [bottom, top] where there is room.

    Clusters of touching labels are merged and centred on the mean of what they want (pool adjacent violators).
    """
    clusters: list[tuple[list[int], float]] = []  # members from below, and where they begin
    for place in np.argsort(wanted, kind="stable"):
        members = [int(place)]
        while True:
            own = heights[members]
            begin = float(np.mean(wanted[members] - np.cumsum(own) + own / 2))
            begin = max(min(begin, top - own.sum()), bottom)
            if not clusters or clusters[-1][1] + heights[clusters[-1][0]].sum() <= begin:
                break
            members = clusters.pop()[0] + members
        clusters.append((members, begin))
    found = np.empty(len(wanted))
    for members, begin in clusters:
        found[members] = begin + np.cumsum(heights[members]) - heights[members] / 2
    return found


def label_points(axes: "Axes", points: Sequence[Labelled], segments: Sequence[Segment] = ()) -> list["Annotation"]:
    """Write labels beside points, once all else is drawn and `laid_out`; name the lines drawn as `segments`.

    Each goes where, of many places around its point, it covers least: labels, points, lines, the frame. One that ends
    up far from its point is tied to it by a hair.
    """
    ground = {"boxstyle": "square,pad=0.02", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    texts = [axes.annotate(label, (x, y), xytext=(0, 0), textcoords="offset points", va="bottom", color=ink(colour),
                           fontsize=SMALL, annotation_clip=False, bbox=ground)
             for x, y, label, colour in points]
    for text in texts:
        text.set_in_layout(False)
    figure: Any = axes.get_figure(root=True)
    point = figure.dpi / 72
    frame = np.array([axes.bbox.x0, axes.bbox.y0, axes.bbox.x1, axes.bbox.y1])
    at = [axes.transData.transform((x, y)) for x, y, *_ in points]
    fixed: list[Box] = [_around(x, y, 2.5 * point) for x, y in at]
    for segment in segments:
        fixed += [_around(x, y, point) for x, y in _along(axes, segment)]
    sizes = [text.get_window_extent() for text in texts]
    chosen: list[Box | None] = [None] * len(texts)
    for number in 2 * list(range(len(texts))):  # once more, when all others have their places
        (x, y), size = at[number], sizes[number]
        others = np.array(fixed[:number] + fixed[number + 1:] + [box for place, box in enumerate(chosen)
                                                                 if box is not None and place != number])
        boxes = [(x + dx, y + dy, x + dx + size.width, y + dy + size.height)
                 for dx, dy in _places(size.width, size.height, point)]
        costs = [_cost(box, others, frame) + 0.5 * rank * point**2 for rank, box in enumerate(boxes)]
        chosen[number] = boxes[int(np.argmin(costs))]
    for text, (x, y), box in zip(texts, at, chosen, strict=True):
        assert box is not None
        text.set_position(((box[0] - x) / point, (box[1] - y) / point))
        near = np.clip(x, box[0], box[2]), np.clip(y, box[1], box[3])
        if np.hypot(near[0] - x, near[1] - y) > 1.6 * GAP * point:
            _hair(axes, text.xy, text, ((near[0] - box[0]) / (box[2] - box[0]), (near[1] - box[1]) / (box[3] - box[1])))
    return texts


def crowded(axes: "Axes", texts: Sequence["Annotation"], segments: Sequence[Segment]) -> bool:
    """Whether labels of points overlap, one covers the point of another, or lines run through more than a third."""
    boxes = [text.get_window_extent() for text in texts]
    if any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place]):
        return True
    at = [axes.transData.transform(text.xy) for text in texts]
    if any(box.contains(*point) for place, box in enumerate(boxes) for other, point in enumerate(at) if other != place):
        return True
    lines = np.concatenate([_along(axes, segment) for segment in segments]) if segments else np.empty((0, 2))
    crossed = sum(any(box.contains(*point) for point in lines) for box in boxes)
    return crossed > len(texts) / 3


def _along(axes: "Axes", segment: Segment) -> np.ndarray:
    """30 places along `segment`, in pixels."""
    begin, end = axes.transData.transform(list(segment))
    return np.linspace(begin, end, 30)


def laid_out(figure: "Figure") -> None:
    """Give all axes their final size."""
    figure.draw_without_rendering()


def _hair(axes: "Axes", start: tuple[float, float], text: "Annotation", corner: tuple[float, float], gap: float = 0,
          dotted: bool = False) -> None:
    """From `gap` points beside `start`, in data, to the place `corner` of `text`, in shares of its size."""
    from matplotlib.text import OffsetFrom

    hair = axes.annotate("", start, xytext=(0, 0), textcoords=OffsetFrom(text, corner, "points"), annotation_clip=False,
                         arrowprops={"arrowstyle": "-", "color": text.get_color(), "shrinkA": 1, "shrinkB": gap,
                                     "linewidth": 0.5, "linestyle": (0, (1, 2)) if dotted else "-"})
    hair.set_in_layout(False)


def _places(width: float, height: float, point: float) -> list[tuple[float, float]]:
    """Lower left corners of a label relative to its point, in pixels, the best first: right, left, above, below,
    corners, then further away."""
    found = []
    ways = sorted(product((1, -1, 0), (0, 1, -1)), key=lambda way: abs(way[0]) + abs(way[1]))
    for distance in (1, 2.2, 3.5, 5, 7):
        gap = distance * GAP * point
        corner = {-1: -gap, 0: 0.0, 1: gap}
        for across, up in ways:
            if (across, up) != (0, 0):
                diagonal = 0.75 if across and up else 1.0
                dx, dy = diagonal * corner[across], diagonal * corner[up]
                found.append((dx - width * (1 - across) / 2, dy - height * (1 - up) / 2))
    return found


def _around(x: float, y: float, reach: float) -> Box:
    return x - reach, y - reach, x + reach, y + reach


def _cost(box: Box, taken: np.ndarray, frame: np.ndarray) -> float:
    """Square pixels that `box` covers of the boxes `taken` [B, 4], and those outside of `frame` [4] twice."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return float(2 * (area - _common(box, frame[None])) + _common(box, taken.reshape(-1, 4)))


def _common(box: Box, others: np.ndarray) -> float:
    widths = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    heights = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return float((widths.clip(0) * heights.clip(0)).sum())
