"""What a prepared dataset looks like: sizes, lengths, time, consumption lag, attributes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cpbench.data.dataset import Dataset

LAGS = {"0s": 0, "60s": 60, "15min": 15 * 60, "1day": 24 * 3600}
"""Seconds between two consecutive interactions of one user."""
MOST = 0.95
"""A granularity holds when this share of the timestamps has it: every real dataset has a few odd ones."""


def describe(dataset: Dataset) -> dict[str, Any]:
    """Everything `cpbench inspect` says, ready for JSON."""
    lengths = np.diff(dataset.offsets)
    distinct = len(np.unique(dataset.user_of_interaction() * dataset.n_items + dataset.items))
    return {
        "name": dataset.name,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": dataset.n_interactions,
        "density": distinct / (dataset.n_users * dataset.n_items),
        "lengths": {"min": int(lengths.min()), "median": float(np.median(lengths)), "mean": float(lengths.mean()),
                    "max": int(lengths.max())},
        "users_with_one_interaction": int((lengths == 1).sum()),
        "repeat_share": 1 - distinct / dataset.n_interactions,
        "first": _iso(int(dataset.times.min())),
        "last": _iso(int(dataset.times.max())),
        "granularity": granularity(dataset.times),
        "consumption_lag": lag_shares(dataset),
        "attributes": {name: attribute_facts(dataset, name) for name in dataset.attribute_names},
        "titles": float(dataset.item_table["title"].is_not_null().mean() or 0),  # type: ignore[arg-type]
        "fingerprint": dataset.fingerprint,
        "licence": dataset.manifest.get("licence", ""),
        "warnings": dataset.manifest.get("warnings", []),
    }


def in_words(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What `describe` found, as names and texts for people."""
    lengths = facts["lengths"]
    return [
        ("users", f"{facts['users']:,} ({facts['users_with_one_interaction']:,} with a single interaction)"),
        ("items", f"{facts['items']:,} ({facts['titles']:.0%} with a title)"),
        ("interactions", f"{facts['interactions']:,} (density {facts['density']:.4%}, "
                         f"{facts['repeat_share']:.1%} repeat an item of the same user)"),
        ("lengths", f"min {lengths['min']}, median {lengths['median']:g}, mean {lengths['mean']:.1f}, "
                    f"max {lengths['max']:,}"),
        ("time", f"{facts['first']} to {facts['last']}, in steps of a {facts['granularity']}"),
        ("consumption lag", ", ".join(f"within {lag}: {share:.3f}" for lag, share in facts["consumption_lag"].items()
                                      if share is not None) or "no user has two interactions"),
        *((name, f"{each['values']:,} values, {each['coverage']:.1%} of the items carry any "
                 f"({each['per_item']:.1f} each)") for name, each in facts["attributes"].items()),
        ("licence", facts["licence"]),
        ("fingerprint", facts["fingerprint"]),
        *(("warning", warning) for warning in facts["warnings"]),
    ]


def lags(dataset: Dataset) -> np.ndarray:
    """Seconds between consecutive interactions of one user, int64 [M - B]."""
    return np.asarray(np.diff(dataset.times)[np.diff(dataset.user_of_interaction()) == 0])


def lag_shares(dataset: Dataset) -> dict[str, float | None]:
    """Share of consecutive interactions of one user that lie within each of LAGS; None where no user has two."""
    gaps = lags(dataset)
    return {name: float((gaps <= limit).mean()) if len(gaps) else None for name, limit in LAGS.items()}


def attribute_facts(dataset: Dataset, name: str) -> dict[str, float]:
    """How many values an item attribute has, the share of items that carry any, and how many those carry."""
    attribute = dataset.attribute(name)
    carried = np.diff(attribute.offsets)
    with_any = carried > 0
    return {"values": len(attribute.names), "coverage": float(with_any.mean()),
            "per_item": float(carried[with_any].mean()) if with_any.any() else 0.0}


def granularity(times: np.ndarray) -> str:
    """What one step of the timestamps is worth, measured: "second", "minute", "hour", "day" or "month".

    A day or a month may begin at any full hour of UTC (data are stamped in local time), or at two neighbouring ones
    (daylight saving).
    """
    for unit, step in (("second", 60), ("minute", 3600)):
        if np.mean(times % step == 0) < MOST:
            return unit
    hours = np.bincount((times % 86_400) // 3600, minlength=24)
    if (hours + np.roll(hours, 1)).max() < MOST * len(times):
        return "hour"
    days = ((times + 43_200) // 86_400).astype("datetime64[D]")  # the nearest midnight
    first_of_month = days == days.astype("datetime64[M]").astype("datetime64[D]")
    return "month" if first_of_month.mean() >= MOST else "day"


def _iso(seconds: int) -> str:
    return f"{np.datetime64(seconds, 's')}Z"
