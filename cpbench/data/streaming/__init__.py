"""The embedded dataset `streaming`: a seeded simulator of a music service that knows the truth (docs/streaming.md)."""

from cpbench.data.streaming.config import StreamingConfig
from cpbench.data.streaming.simulator import generate
from cpbench.data.streaming.store import load_or_generate
from cpbench.data.streaming.truth import Truth

__all__ = ["StreamingConfig", "Truth", "generate", "load_or_generate"]
