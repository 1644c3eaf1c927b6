"""The picture of `cpbench inspect`: how far apart a user's interactions lie, and how long users are."""

from pathlib import Path

import numpy as np

from cpbench.data.dataset import Dataset
from cpbench.data.describe import LAGS, lags
from cpbench.files import atomic_file

NAMED = {1: "1 s", 60: "1 min", 900: "15 min", 86_400: "1 day", 31_536_000: "1 year"}


def draw(dataset: Dataset, path: Path) -> None:
    """Write a PNG with the cumulative distributions of consumption lag and of sequence length.

    Cumulative, so that any lag can be read off, and no choice of bins invents peaks in whole numbers.
    Raises CpbenchError when `path` cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    gaps = lags(dataset)
    # 0 s has no place on a logarithmic axis and is drawn at its left edge
    left.step(*_cumulative(np.maximum(gaps, 0.5)), where="post")
    for limit in list(LAGS.values())[1:]:
        left.axvline(limit, color="0.8", linewidth=1, zorder=0)
    left.set(xscale="log", ylim=(0, 1.02), xlabel="time since the user's previous interaction (left edge: 0 s)",
             ylabel="share of interactions within", title="Consumption lag")
    ticks = [at for at in NAMED if at <= gaps.max(initial=86_400)]
    left.set_xticks(ticks, [NAMED[at] for at in ticks])
    left.minorticks_off()

    lengths = np.diff(dataset.offsets)
    right.step(*_cumulative(lengths), where="post")
    right.axvline(float(np.median(lengths)), color="tab:orange", label=f"median {np.median(lengths):g}")
    right.set(xscale="log", ylim=(0, 1.02), xlabel="interactions of a user", ylabel="share of users with at most",
              title="Sequence length")
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    right.legend(frameon=False, loc="lower right")
    # "$" would start a formula
    figure.suptitle(f"{dataset.name.replace('$', '')}: {dataset.n_users:,} users, {dataset.n_items:,} items, "
                    f"{dataset.n_interactions:,} interactions")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _cumulative(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, and the share of `values` that are at most each."""
    distinct, counts = np.unique(values, return_counts=True)
    return distinct, np.cumsum(counts) / max(len(values), 1)
