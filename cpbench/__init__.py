"""cpbench: honest benchmarks for sequential and generative recommendation."""

__version__ = "0.1.0"
