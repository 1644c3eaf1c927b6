"""Evaluate lists that some other system made: ranks within them, then the metrics of every model."""

import time

import numpy as np
import polars as pl

from cpbench.data.protocol import Events, Split
from cpbench.errors import UsageError
from cpbench.evaluation.evaluate import LIST_LENGTH, Evaluation, metrics_of
from cpbench.models.histories import Histories


def evaluate_lists(split: Split, events: Events, rows: pl.DataFrame) -> Evaluation:
    """Rank the targets of E events within given lists, under the split's protocol (design: docs/protocol.md).

    rows: event (index into `events`), item (dense, null for one outside the catalogue), score (Float64, finite, larger
    is better); no item twice in a list. Rows of equal score are shown in their order and share the middle rank.

    With `exclude_seen`, items of the visible history leave the lists before anything is ranked. What is not in a list
    is a miss. The beam is the median length of the lists that are left: larger cut-offs and MRR are absent, unless
    every list holds all that may be shown. Notes count what a reader must know: `seen_items_removed`, `unknown_items`
    (places they take), `lists_missing`, `lists_short` (shorter than the beam, with items left to show), and
    `lists_ending_in_a_tie` (what was cut off may belong to it, too). Raises UsageError when no list is left.
    """
    started = time.perf_counter()
    dataset, n_events = split.dataset, len(events)
    rows = rows.select(pl.col("event").cast(pl.Int64), pl.col("item").cast(pl.Int64), "score").with_row_index("row")
    submitted, room = rows.height, np.full(n_events, dataset.n_items)
    if split.protocol.exclude_seen:
        seen = _seen(split, events)
        room -= np.bincount(seen["event"].to_numpy(), minlength=n_events)
        rows = rows.join(seen, on=["event", "item"], how="anti")
    rows = rows.sort("event", "score", "row", descending=[False, True, False]).with_columns(
        place=pl.int_range(pl.len()).over("event"),
        rank=pl.col("score").rank("average", descending=True).over("event"))
    if rows.is_empty():
        raise UsageError("every recommended item was seen by its user before, which this protocol excludes")
    known = rows.filter(pl.col("item").is_not_null())

    lengths = np.bincount(rows["event"].to_numpy(), minlength=n_events)
    complete = np.bincount(known["event"].to_numpy(), minlength=n_events) == room
    median = int(np.median(lengths[lengths > 0]))
    beam = None if complete.all() else median
    worst = np.zeros(n_events)
    np.maximum.at(worst, rows["event"].to_numpy(), rows["rank"].to_numpy())

    k = min(LIST_LENGTH, dataset.n_items if beam is None else beam)
    shown = known.filter(pl.col("place") < k)
    lists = np.full((n_events, k), -1, dtype=np.int64)
    lists[shown["event"].to_numpy(), shown["place"].to_numpy()] = shown["item"].to_numpy()
    ranks = np.stack([_ranks(known, dataset.items[events.target + step]) for step in range(split.protocol.horizon)], 1)
    notes = split.notes(events) | ({} if beam is None else {"beam": beam}) | {
        "seen_items_removed": submitted - rows.height,
        "unknown_items": rows.height - known.height,
        "lists_missing": int((lengths == 0).sum()),
        "lists_short": int(((lengths > 0) & (lengths < median) & ~complete).sum()),
        "lists_ending_in_a_tie": int(((worst < lengths) & ~complete).sum()),
    }
    return Evaluation(ranks[:, 0], metrics_of(split, events, ranks, beam, lists), notes,
                      time.perf_counter() - started, ranks if split.protocol.horizon > 1 else None)


def _seen(split: Split, events: Events) -> pl.DataFrame:
    """The distinct items of every visible history: event, item (Int64)."""
    histories = Histories.of_events(split.dataset, events)
    return pl.DataFrame({"event": np.repeat(np.arange(len(events)), histories.lengths.numpy()),
                         "item": histories.items.numpy()}).unique()


def _ranks(known: pl.DataFrame, targets: np.ndarray) -> np.ndarray:
    """The rank of each target int [E] in its list, float64 [E]; infinity where it is not there."""
    asked = pl.DataFrame({"event": np.arange(len(targets)), "item": targets.astype(np.int64)})
    found = asked.join(known, on=["event", "item"])
    ranks = np.full(len(targets), np.inf)
    ranks[found["event"].to_numpy()] = found["rank"].to_numpy()
    return ranks
