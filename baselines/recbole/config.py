"""The settings of a RecBole model: RecBole's own keys and defaults, typed, and unknown keys are errors.

How RecBole trains is the same for all models and stands here; the keys of each model come from the file of defaults
that RecBole ships for it.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from cpbench.models.base import ModelConfig

OWN = ("transform",)
"""Keys of RecBole's files that belong to the model's code and are no choice."""


class RecBoleConfig(ModelConfig):
    """RecBole's names, and its defaults (its ``overall.yaml``), which a test compares."""

    epochs: int = Field(300, ge=1)
    """At most this many passes over the training rows, one row a prefix."""
    train_batch_size: int = Field(2048, ge=1)
    """Prefixes per step."""
    learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    eval_step: int = Field(1, ge=1)
    """Epochs between validations."""
    stopping_step: int = Field(10, ge=1)
    """Stop after more than this many validations without a better validation NDCG@10."""
    eval_batch_size: int = Field(4096, ge=1)
    """Validation events ranked at once; it changes memory, not numbers."""
    MAX_ITEM_LIST_LENGTH: int = Field(50, ge=1)
    """Most recent interactions read."""


def config_class(member: str) -> type[RecBoleConfig]:
    """The settings of RecBole's model `member`. RecBole must be importable."""
    defaults = {key: value for key, value in _defaults(member).items()
                if key not in OWN and key not in RecBoleConfig.model_fields}
    if "selected_features" in defaults:
        defaults["selected_features"] = []  # RecBole's is an attribute of its own example; none named means all
    fields: dict[str, Any] = {key: (_type(key, value), value) for key, value in defaults.items()}
    return create_model(f"{member}Config", __base__=RecBoleConfig, __module__=__name__, **fields)


def _defaults(member: str) -> dict[str, Any]:
    import recbole
    import yaml

    from .bridge import Numbers

    path = Path(recbole.__file__).parent / "properties" / "model" / f"{member}.yaml"
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=Numbers)
    return dict(found or {})


def _type(key: str, default: Any) -> Any:
    if key == "loss_type":
        return Literal["CE", "BPR"]
    if default is None:
        return Any
    if isinstance(default, int) and not isinstance(default, bool) and default in (0, 1):
        return int | float  # RecBole writes rates as whole numbers, too
    return type(default)
