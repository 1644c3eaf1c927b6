"""Settings of the training loop: the same keys for every gradient-trained model."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["float32", "bfloat16"]


class TrainingConfig(BaseModel):
    """How a model is trained. Unknown keys are errors; units stand in the field notes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    epochs: int = Field(100, ge=1)
    """At most this many passes over the training sequences."""
    patience: int = Field(10, ge=1)
    """Stop after this many validations without a better validation NDCG@10."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations."""
    batch_size: int = Field(128, ge=1)
    """Sequences per step: users, or with `one_target` prefixes."""
    length_groups: int = Field(0, ge=0)
    """0: sequences of similar length share a step (least padding). n: a step draws its sequences at random, and
    computes them in n groups of similar length whose gradients are added."""
    random_windows: bool = False
    """Of sequences longer than the model reads, train on a window drawn anew each epoch, not always on the last.
    Not with `one_target`."""
    one_target: bool = False
    """Every prefix of a history is a sequence, of which its last interaction alone is to be named (RecBole's
    augmentation): it sees what a request would see, and old interactions train, too, at a pass a target."""
    learning_rate: float = Field(1e-3, gt=0)
    optimizer: Literal["adam", "adamw"] = "adam"
    beta2: float = Field(0.999, gt=0, lt=1)
    """Decay of the running mean of squared gradients."""
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up, down to a tenth of the learning rate at the last epoch."""
    warmup_steps: int = Field(0, ge=0)
    clip_norm: float = Field(0.0, ge=0)
    """Clip the gradient's global norm; 0 leaves it alone."""
    precision: Precision = "float32"
    """What matrix products are computed in. bfloat16: where it pays; a device without instructions for it trains
    in float32, and the record's `precision` says so."""
    max_minutes: float = Field(0.0, ge=0)
    """Stop at the end of the epoch that passes this training time, and validate it; 0 sets no limit. Another machine
    stops elsewhere: a record says when it was the clock that ended the training."""
