from cpbench.models.base import Recommender
from cpbench.models.conformance import check


def failures(model_class: type[Recommender]) -> dict[str, str]:
    return {result.name: result.message for result in check(model_class, steps=60) if not result.ok}
