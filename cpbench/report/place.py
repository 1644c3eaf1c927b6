"""Where a run lies: ``results/DATASET/PROTOCOL/MODEL/RUN``."""

import hashlib
import re
from pathlib import Path

from cpbench.data.protocol import Protocol


def run_folder(results: Path, dataset: str, protocol: Protocol, model: str, run: str) -> Path:
    return results.joinpath(*map(folder_name, (dataset, protocol_name(protocol), model, run)))


def folder_name(text: str) -> str:
    """`text` with whatever a file system may not like replaced.

    >>> folder_name("recbole:SASRec")
    'recbole_SASRec'
    """
    return re.sub(r"[^\w.,=+-]", "_", text)


def told_apart(text: str) -> str:
    """`folder_name`, with a checksum where it alone would be that of other texts, too.

    >>> told_apart("genre"), told_apart("a b"), told_apart("a/b")
    ('genre', 'a_b-c8687a', 'a_b-c14cdd')
    """
    name = folder_name(text)
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def protocol_name(protocol: Protocol) -> str:
    """A folder name that says everything in which the protocol differs from plain leave-one-out or temporal.

    >>> protocol_name(Protocol(serving_lag=900, exclude_seen=False))
    'leave-one-out,lag=900,seen=kept'
    """
    name: str = protocol.split
    if protocol.serving_lag:
        name += f",lag={protocol.serving_lag}"
    if not protocol.exclude_seen:
        name += ",seen=kept"
    default = Protocol()
    if protocol.condition is not None:
        name += f",condition={told_apart(protocol.condition)}"
    if protocol.horizon != default.horizon:
        name += f",horizon={protocol.horizon}"
    if protocol.targets_per_user != default.targets_per_user:
        name += f",targets={protocol.targets_per_user}"
    if protocol.holdout != default.holdout:
        name += f",holdout={protocol.holdout:g}"
    return name
