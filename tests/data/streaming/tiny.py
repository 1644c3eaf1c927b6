"""A small service for the tests."""

from cpbench.data.streaming import StreamingConfig

TINY = StreamingConfig(songs=60, genres=4, languages=2, users=120, days=10, activity_sessions=(2, 3, 5))
