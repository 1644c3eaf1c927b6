"""What rows and tables are called in a figure: short, and of what tells them apart only."""

import hashlib
import re
from collections.abc import Sequence

from cpbench.data.protocol import Protocol
from cpbench.report.figures.style import COLUMN, WIDE
from cpbench.report.tables import ComparisonTable, Row

LONGEST = 50


def shortened(text: str, length: int = LONGEST) -> str:
    """On one line; what is longer than `length` characters ends in an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[:length - 1].rstrip(' ,=(')}…"


def distinct(rows: Sequence[Row], length: int = LONGEST) -> tuple[list[str], str]:
    """Labels of `rows` without what they have in common, and what that is, as a sentence (empty where nothing is).

    Models that count have no recipe to speak of: theirs is left out and hides no other's. Labels that shortening
    would make equal get a number.
    """
    parts = [row.recipe.split(", ") for row in rows]
    learned = [own for row, own in zip(rows, parts, strict=True) if not row.deterministic]
    common = [part for part in learned[0] if all(part in own for own in learned)] if learned else []
    same_model = len({row.model for row in rows}) == 1 and len(rows) > 1
    settings = {part for own in parts for part in own if part not in common}
    labels = []
    for row, own in zip(rows, parts, strict=True):
        left = [part for part in own if part not in common and not (row.deterministic and part == "tuned")]
        text = ", ".join(_setting(part, settings) for part in left)
        labels.append(text if same_model and text else f"{row.model} ({text})" if text else row.model)
    labels = [shortened(label, length) for label in labels]
    seen: dict[str, int] = {}
    for place, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if labels.count(label) > 1:
            labels[place] = f"{shortened(label, length - 4)} #{seen[label]}"
    shared = [*([rows[0].model] if same_model else []), *common]
    return labels, f"All {'learned rows' if not same_model else 'rows'}: {', '.join(shared)}." if shared else ""


def _setting(text: str, others: set[str]) -> str:
    """``sft.method=pinrec`` -> ``pinrec`` where other rows have other methods; a number keeps its key's last part."""
    key, equals, value = text.partition("=")
    varied = sum(other.partition("=")[0] == key for other in others) > 1
    plain_word = value.replace("-", "").isalpha() and value not in ("true", "false", "none", "null")
    return value if equals and varied and plain_word else f"{key.rpartition('.')[2]}{equals}{value}"


def width_for(labels: Sequence[str], most: int) -> float:
    """A column, or more where a label has more than `most` characters."""
    return COLUMN if max(map(len, labels), default=0) <= most else WIDE


def heading(table: ComparisonTable, lag: bool = True) -> str:
    """``streaming, leave-one-out, lag 900 s, paper recipes``: everything of dataset and protocol that is not the
    default, short enough for the top of a figure."""
    protocol, default = table.protocol, Protocol()
    parts = [table.dataset, protocol.split]
    if protocol.serving_lag and lag:
        parts.append(f"lag {protocol.serving_lag:,} s")
    if not protocol.exclude_seen:
        parts.append("seen items kept")
    if protocol.horizon > 1:
        parts.append(f"{protocol.horizon} ahead")
    if protocol.condition is not None:
        parts.append(f"given {protocol.condition}")
    if protocol.targets_per_user != default.targets_per_user:
        parts.append(f"{protocol.targets_per_user} targets a user")
    if protocol.holdout != default.holdout:
        parts.append(f"holdout {protocol.holdout:g}")
    if table.recipes != "tuned":
        parts.append(f"{table.recipes} recipes")
    return ", ".join(parts)


def file_name(kind: str, table: ComparisonTable, lag: bool = True) -> str:
    """``pareto-streaming-leave-one-out-lag-900``: everything of dataset and protocol that is not the default, in small
    letters, as some file systems know no others; with a checksum where another table's name would be the same."""
    protocol, default = table.protocol, Protocol()
    parts = [kind, table.dataset, protocol.split]
    parts += [f"lag-{protocol.serving_lag}"] * bool(protocol.serving_lag and lag)
    parts += ["seen-kept"] * (not protocol.exclude_seen)
    parts += [f"horizon-{protocol.horizon}"] * (protocol.horizon > 1)
    parts += [f"given-{protocol.condition}"] * (protocol.condition is not None)
    parts += [f"{protocol.targets_per_user}-a-user"] * (protocol.targets_per_user != default.targets_per_user)
    parts += [f"holdout-{protocol.holdout}"] * (protocol.holdout != default.holdout)
    parts += [table.recipes] * (table.recipes != "tuned")
    text = "-".join(parts)
    name = re.sub(r"[^\w.]+", "-", text).strip("-").lower()
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
