"""Every registered model passes the conformance suite."""

from typing import Any

import pytest

from cpbench.models.conformance import check
from cpbench.models.registry import model_class, model_names

GBCE = {"width": 16, "blocks": 1, "negatives": 4, "loss": "gbce", "gbce_t": 0.5}
SMALL: dict[str, list[dict[str, Any]]] = {
    "sasrec": [{"width": 16, "blocks": 1, "negatives": 16, "loss": loss}
               for loss in ("bce", "softmax", "sampled-softmax")] + [GBCE, {"width": 16, "request_time": True}],
    "pinrec": [{"width": 16, "blocks": 1, "negatives": 16}],
    "bsarec": [{"width": 16, "blocks": 1}],
    "esasrec": [{"width": 16, "negatives": 16}],
    "bert4rec": [{"width": 64, "blocks": 1, "mask_rate": 0.5, "output": output} for output in ("tied", "own")],
    "gru4rec": [{"width": 16, "layers": 2}],
    "hstu": [{"width": 16, "length": 20, **more} for more in (
        {"heads": 2, "query_width": 6, "value_width": 8, "request_time": True},
        {"blocks": 1, "loss": "softmax", "shared_negatives": True, "time_bias": False})],
    "tiger": [{"width": 16, "heads": 2, "head_width": 8, "feed_forward": 16, "layers": 1, "quantiser": "rk-means",
               **more} for more in ({"causal": True}, {"causal": False, "prefixes": 0, "codes": 8, "levels": 2})],
    "climber-pilot": [{"width": 16, "layers": 1, "negatives": 32, **more} for more in (
        {"mode": "nip", "loss": "softmax"}, {"mode": "mip", "sampler": "in-batch"}, {"mode": "tamip"},
        {"mode": "tamip", "cutoff": "exact", "category": "none"}, {"mode": "mip", "temperature": 0.1})],
}
CASES = [pytest.param(name, settings, id=f"{name}-{'-'.join(map(str, settings.values()))}")
         for name in model_names() for settings in SMALL.get(name, [{}])]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_registered_model_conforms(name: str, settings: dict[str, Any]) -> None:
    found = model_class(name)
    failures = [result for result in check(found, found.Config(**settings)) if not result.ok]
    assert failures == []
