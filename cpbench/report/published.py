"""Published values (``published.toml``): shown beside ours only where data and protocol are the same."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cpbench.report.record import RunRecord


class Published(BaseModel):
    """One published row. `source` is resolved to its full text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    model: str
    metrics: dict[str, float]
    source: str
    when: dict[str, list[Any]] = {}
    """Settings a run must have for the value to be about the same model: key -> allowed values."""
    split: Literal["leave-one-out", "temporal"] = "leave-one-out"
    exclude_seen: bool | None = None
    """None where the source does not say."""
    undertuned: str = ""
    """Why the value is no expectation; empty where it is one."""
    read: str
    """How the value was read."""

    def is_about(self, record: RunRecord) -> bool:
        """Whether this is the same model on the same data under the same protocol."""
        protocol = record.protocol
        return (
            (self.dataset, self.model, self.split) == (record.dataset, record.model, protocol.split)
            and protocol.serving_lag == 0 and protocol.horizon == 1 and protocol.condition is None
            and self.exclude_seen in (None, protocol.exclude_seen)
            and all(record.config.get(key) in allowed for key, allowed in self.when.items())
        )


@cache
def published() -> list[Published]:
    """All entries."""
    text = resources.files("cpbench.report").joinpath("published.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    sources = document["sources"]
    return [Published(**{**entry, "source": sources[entry["source"]]["text"], "read": sources[entry["source"]]["read"]})
            for entry in document["value"]]


def published_for(record: RunRecord) -> list[Published]:
    """What was published about the same thing as `record`, in the order of the file."""
    return [entry for entry in published() if entry.is_about(record)]
