"""Where the generated dataset lies: written whole or not at all, and made anew when the simulator has changed."""

import json
from dataclasses import replace
from pathlib import Path

from cpbench.data.card import card
from cpbench.data.dataset import Dataset
from cpbench.data.streaming.config import StreamingConfig
from cpbench.data.streaming.simulator import generate
from cpbench.data.streaming.truth import FILE
from cpbench.errors import CpbenchError, UsageError
from cpbench.files import atomic_folder

VERSION = 1
"""Raise it with every change of the simulator that changes what the same configuration gives."""

DEFAULT = StreamingConfig()


def load_or_generate(folder: Path, config: StreamingConfig = DEFAULT, name: str = "streaming") -> Dataset:
    """The dataset in `folder`, generated (seconds) when it is absent, damaged, or of another configuration or version.

    Two processes may do so at once. Raises CpbenchError when the folder cannot be written.
    """
    if (stored := _stored(folder, config)) is not None:
        return stored
    dataset, truth = generate(config)
    dataset, about = replace(dataset, name=name), card(name)
    dataset.manifest.update({
        "title": about.title,
        "licence": about.licence,
        "granularity": about.granularity,
        "exclude_seen": about.exclude_seen,
        "simulator": _signature(config),
    })
    try:
        with atomic_folder(folder) as temporary:
            dataset.write(temporary)
            truth.write(temporary)
    except CpbenchError:
        if _stored(folder, config) is None:  # else another process was quicker, with the same result
            raise
    return dataset


def _signature(config: StreamingConfig) -> dict:
    return {"version": VERSION, "config": config.model_dump(mode="json")}


def _stored(folder: Path, config: StreamingConfig) -> Dataset | None:
    """What `folder` holds, if it is whole and what `config` gives today."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest.get("simulator") != _signature(config) or not (folder / FILE).is_file():
            return None
        return Dataset.load(folder)
    except (OSError, ValueError, AttributeError, UsageError):
        return None
