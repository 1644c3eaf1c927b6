"""The workload that every script of this folder shares, and how each reports. No import beyond numpy: peers run it too.

The interactions of one dataset, users numbered from 0 and contiguous, each user's in time order; leave-one-out: the
last is the test item, the one before the validation item. SASRec with the same shape everywhere.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

LENGTH, WIDTH, BLOCKS, HEADS, BATCH, DROPOUT, LEARNING_RATE = 200, 64, 2, 2, 128, 0.2, 1e-3
TOP = 10


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="the .npz that compare.py wrote")
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs, after one of warm-up")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--length-buckets", action="store_true", help="RePlay only: its LengthBucketedQueryEncoder")
    return parser.parse_args()


def interactions(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """user, item int64 [M] and time int64 [M] (seconds)."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["user"].astype(np.int64), arrays["item"].astype(np.int64), arrays["time"].astype(np.int64)


def from_end(user: np.ndarray) -> np.ndarray:
    """How many interactions of the same user follow each interaction, int64 [M]: 0 is the test item."""
    last = np.cumsum(np.bincount(user))[user]
    return last - np.arange(len(user)) - 1


class EpochClock:
    """Wall-clock seconds of each epoch, by marks at its start and end."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def start(self) -> None:
        self.started = time.perf_counter()

    def stop(self) -> None:
        self.seconds.append(time.perf_counter() - self.started)
        sys.stderr.write(f"epoch {len(self.seconds)}: {self.seconds[-1]:.1f} s\n")


def report(epoch_seconds: list[float], rank_seconds: float, **more: Any) -> None:
    """Print the one JSON document that compare.py reads; the first epoch is warm-up."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    json.dump({"epoch_seconds": epoch_seconds[1:], "warm_up_seconds": epoch_seconds[0], "rank_seconds": rank_seconds,
               "peak_rss_bytes": peak, **more}, sys.stdout)
    sys.stdout.write("\n")
