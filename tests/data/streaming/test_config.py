"""Knobs: strict, and refused when they contradict one another."""

import pytest
from pydantic import ValidationError

from cpbench.data.streaming import StreamingConfig


@pytest.mark.parametrize(("knobs", "reason"), [
    ({"song": 10}, "Extra inputs"),
    ({"activity_sessions": (3, 4)}, "activity_sessions has 2 levels, activity_shares 3"),
    ({"genres": 2}, "taste_shares names 3 genres of 2"),
    ({"focus": 0.9, "explore": 0.2}, "focus [+] explore = 1.1 is more than 1"),
    ({"songs": 6, "genres": 3, "batch_sizes": (4,)}, "a batch of 4 songs"),
    ({"songs": 9}, "10 genres need as many songs"),
    ({"request_interval": 700}, "a batch may last 780 s, but the next request may come 640 s"),
    ({"order_artefact": 1.5}, "less than or equal to 1"),
])
def test_a_contradiction_is_refused_with_its_reason(knobs, reason):
    with pytest.raises(ValidationError, match=reason):
        StreamingConfig(**knobs)


def test_every_contradiction_is_named_at_once():
    with pytest.raises(ValidationError, match=r"(?s)taste_shares.*batch may last"):
        StreamingConfig(genres=2, request_interval=700)
