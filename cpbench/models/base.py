"""The shared interface: every model, counted or trained, is a Recommender.

Shapes use one alphabet throughout cpbench: B users, L positions, D width, H heads, N items, K branches, T real
(unpadded) tokens of a batch.
"""

import inspect
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cpbench.data.dataset import Attribute, Dataset
from cpbench.data.protocol import Split
from cpbench.errors import CpbenchError, UsageError
from cpbench.files import atomic_folder
from cpbench.models.histories import Histories, Sequences


@dataclass(frozen=True)
class Facts:
    """What a model is built for: N items, their attributes, and where known their release times, int64 [N] seconds."""

    n_items: int
    attributes: dict[str, Attribute]
    released: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> "Facts":
        released = dataset.item_table.get_column("released", default=None)
        known = released is not None and not released.null_count()
        return cls(dataset.n_items, {name: dataset.attribute(name) for name in dataset.attribute_names},
                   released.to_numpy().astype(np.int64) if known else None)

    def document(self) -> dict[str, Any]:
        """JSON-ready; `from_document` reads it."""
        attributes = {name: {"names": a.names, "values": a.values.tolist(), "offsets": a.offsets.tolist()}
                      for name, a in self.attributes.items()}
        released = None if self.released is None else self.released.tolist()
        return {"n_items": self.n_items, "attributes": attributes, "released": released}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Facts":
        attributes = {name: Attribute(a["names"], np.array(a["values"], np.int32), np.array(a["offsets"], np.int64))
                      for name, a in document["attributes"].items()}
        released = document.get("released")
        return cls(document["n_items"], attributes, None if released is None else np.array(released, np.int64))


class ModelConfig(BaseModel):
    """Base of every model's configuration: frozen, and an unknown key is an error, as is a number that is not finite
    (JSON, and so a record, cannot say it)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Recommender(ABC):
    """A model behind the shared interface.

    Subclasses set `name` and `Config`, and give `score` plus one way of fitting: `fit` (counts, closed forms), or
    by deriving from `NeuralRecommender` a `training_loss` that the training loop drives.
    """

    name: ClassVar[str]
    Config: ClassVar[type[ModelConfig]] = ModelConfig
    seeded: ClassVar[bool] = False
    """Whether `fit` uses its seed. Of a model that does not, another seed changes nothing, and tables say so."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Installed packages whose version decides the numbers, too: it goes into the record."""

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.facts = facts

    @classmethod
    def instructed(cls) -> "type[InstructedRecommender] | None":
        """The class of the stage that teaches this model to obey conditions; None when it has none."""
        return None

    @classmethod
    def for_examination(cls) -> ModelConfig:
        """Settings under which a made-up dataset of a few dozen users is learnt within seconds (`check-model`)."""
        return cls.Config()

    @property
    def beam(self) -> int | None:
        """How many items its lists can hold at most, of a model that generates them; None: it ranks the catalogue.

        Such a model overrides `search`. It is ranked by its lists, and a target that is not in them is a miss.
        """
        return None

    @property
    def information(self) -> list[str]:
        """The information budget beside item ids: any of `user`, `times`, `request time`, `categories`, `text`,
        `condition`."""
        return []

    def place(self, device: torch.device) -> None:  # noqa: B027 (a model need not care)
        """Fit and score on `device`, for models that can; the others stay where they are."""

    def fit(self, split: Split, seed: int) -> list[dict[str, Any]] | None:
        """Learn from the training prefixes of `split` alone. Deterministic given `seed`; a class whose `fit` uses it
        says so (`seeded`).

        A model that learns in epochs returns its curve: a row a validated epoch, with `epoch`, `best_epoch`, `loss`.
        """
        raise CpbenchError(f"{self.name} is trained by gradients: use the training loop, not fit")

    @abstractmethod
    def score(self, histories: Histories) -> Tensor:
        """Scores of the whole catalogue, float32 [B, N]; larger is better; finite. Seen items are not removed here.

        A model with a `beam` may be slow at it (small catalogues, single requests): its lists come from `search`.
        """

    def search(self, histories: Histories, k: int, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The best k <= N items that are not `hidden` (bool [B, N]): ids int64 [B, k] and scores [B, k], best first.

        Where fewer are left, hidden ones come last, with score -inf. Raises UsageError when k exceeds the beam.
        """
        return best(self.score(histories), k, hidden)

    def recommend(self, histories: Histories, k: int, condition: str | None = None,
                  exclude_seen: bool = True) -> tuple[Tensor, Tensor]:
        """The best k items of each history: ids int64 [B, k] and scores [B, k], best first; ties go to the smaller id.

        Items that must not be shown (seen, with `exclude_seen`) come last with score -inf when k is larger than what
        is left. Raises UsageError when k exceeds the catalogue or the beam, a history holds an id outside 0..N-1, or
        the model knows no conditions.
        """
        if bool(((histories.items < 0) | (histories.items >= self.facts.n_items)).any()):
            raise UsageError(f"a history holds an item id outside 0..{self.facts.n_items - 1}, those of the catalogue")
        if not 1 <= k <= self.facts.n_items:
            raise UsageError(f"k = {k} is outside 1..{self.facts.n_items}, the size of the catalogue")
        seen = histories.seen(self.facts.n_items) if exclude_seen else None
        if condition is None:
            return self.search(histories, k, seen)
        return best(self.scores_under(histories, condition), k, seen)

    def scores_under(self, histories: Histories, condition: str) -> Tensor:
        """Scores of the catalogue under the condition value called `condition`, float32 [B, N].

        Raises UsageError when the model takes no conditions, or knows no such value.
        """
        raise UsageError(f"{self.name} takes no condition")

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, by name."""
        raise NotImplementedError(f"{type(self).__name__} must define tensors() and load_tensors()")

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        raise NotImplementedError(f"{type(self).__name__} must define tensors() and load_tensors()")

    @property
    def n_parameters(self) -> int:
        """How many numbers were learned."""
        return sum(tensor.numel() for tensor in self.tensors().values())

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``model.json`` (never pickle), whole or not at all."""
        with atomic_folder(folder) as temporary:
            self.write(temporary)

    def write(self, folder: Path) -> None:
        """Write the files into an existing folder (a model that stores more extends this)."""
        document = {"model": self.name, "class": f"{type(self).__module__}:{type(self).__qualname__}",
                    "config": self.config.model_dump(mode="json"), "facts": self.facts.document()}
        # clones: safetensors refuses vectors that two names share (tied weights)
        save_file({name: tensor.contiguous().clone() for name, tensor in self.tensors().items()},
                  folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; a neural model comes in evaluation mode.

        Raises UsageError when the folder holds no such model.
        """
        try:
            document: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "model.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise UsageError(f"no readable model in {folder} ({error}): run it again with --force") from error
        if document["model"] != cls.name:
            raise UsageError(f"{folder} holds a {document['model']}, not a {cls.name}")
        model = cls(cls.Config(**document["config"]), Facts.from_document(document["facts"]))
        model.load_tensors(tensors)
        if isinstance(model, torch.nn.Module):
            model.eval()
        return model

    @classmethod
    def recipe_file(cls) -> Path | None:
        """``NAME.toml`` beside the class's module: its recipes. None when the model ships none."""
        source = getattr(inspect.getmodule(cls), "__file__", None)
        name = getattr(cls, "name", None)
        path = Path(source).parent / f"{name}.toml" if source and name else None
        return path if path and path.is_file() else None


def best(scores: Tensor, k: int, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k best of each row of scores [B, N], best first: ids int64 [B, k] and scores; ties go to the smaller id.

    What is `hidden` (bool [B, N]) comes last, with score -inf.
    """
    if hidden is not None:
        scores = scores.masked_fill(hidden.to(scores.device), -torch.inf)
    top = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    ids = top.indices[:, :k].sort(dim=1).values  # topk leaves the order of equals open: smaller ids first,
    values, order = scores.gather(1, ids).sort(dim=1, descending=True, stable=True)  # and a stable sort keeps them so
    ids = ids.gather(1, order)
    cut = (top.values[:, k:] == top.values[:, k - 1:k]).any(1)  # equals that topk chose from without a rule
    if cut.any():
        ids[cut] = torch.sort(scores[cut], dim=1, descending=True, stable=True).indices[:, :k]
    return ids, values


class NeuralRecommender(torch.nn.Module, Recommender):
    """A Recommender trained by gradients: it gives a loss, the training loop owns everything else."""

    seeded = True
    trains_one_target = False
    """Whether `training_loss` knows sequences of which the last interaction alone is a target."""

    def __init__(self, config: ModelConfig, facts: Facts) -> None:
        torch.nn.Module.__init__(self)
        self.config = config
        self.facts = facts

    @property
    def asks_one_position(self) -> bool:
        """Whether `training_loss` asks one position of each sequence: the loop then weighs a batch by its sequences,
        not by its positions."""
        return False

    @property
    @abstractmethod
    def max_length(self) -> int:
        """How many most recent interactions the model reads (L)."""

    def begin_training(self, split: Split) -> None:
        """Look at the training data once before the first epoch (item counts for a sampler, for example).

        Of the protocol a training may depend on the split alone: runs that differ in the serving lag share it.
        """

    @property
    def remarks(self) -> list[str]:
        """What a person should read about what `begin_training` made, in sentences (a tokeniser's health)."""
        return []

    @abstractmethod
    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        """The loss (a scalar that backpropagates) of whole training sequences, and its named parts for the log.

        Every position of a sequence is a target, unless the batch says `one_target`. Randomness comes from torch's
        default generator, which the loop seeds from (run seed, epoch).
        """

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.load_state_dict(tensors)

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


class InstructedRecommender(NeuralRecommender):
    """A second stage: fine-tuned from a pre-trained model, it obeys conditions."""

    @classmethod
    @abstractmethod
    def build(cls, settings: dict[str, Any], pretrained: Recommender, condition: str, facts: Facts) -> Self:
        """The stage before its first step; `facts` hold the derived conditions, too. Raises UsageError."""

    @abstractmethod
    def score_given(self, histories: Histories, values: Tensor, times: Tensor | None = None) -> Tensor:
        """Scores under one condition a user, float32 [B, N]; values int64 [B], times int64 [B] of the requests."""
