"""One of RecBole's sequential models behind the shared interface.

training prefixes -> RecBole's rows, one a prefix -> RecBole's Trainer; after every epoch it ranks our validation
events, seen items excluded where our protocol does -> the weights of the best epoch -> `score`: its full_sort_predict.
"""

import tempfile
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cpbench.data.protocol import Split
from cpbench.errors import CpbenchError, UsageError, unknown
from cpbench.models.base import Facts, Histories, ModelConfig, Recommender

from .compatibility import undisturbed
from .config import RecBoleConfig

WITH_USERS = ("Caser", "FOSSIL", "FPMC", "HGN", "HRM", "NPE", "SHAN", "TransRec")
"""Members with a vector for each user; whom they do not know is RecBole's user 0, the padding."""


class RecBoleModel(Recommender):
    """A member of the family; the subclass of a member sets `member`, `name` and `Config`.

    Memory and time grow with the number of training interactions times MAX_ITEM_LIST_LENGTH: RecBole makes a row of
    every prefix. Training cannot be resumed.
    """

    seeded = True
    member: ClassVar[str]
    config: RecBoleConfig
    libraries = ("recbole",)

    def __init__(self, config: RecBoleConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.device = torch.device("cpu")
        self.model: Any = None
        self.popularity = torch.zeros(facts.n_items)
        self.n_users = 0
        if self._takes_features and not facts.attributes:
            raise UsageError(f"{self.name} needs item attributes, and these items have none")
        for feature in getattr(config, "selected_features", []):
            if feature not in facts.attributes:
                raise unknown("item attribute in selected_features", feature, facts.attributes)

    @classmethod
    def for_examination(cls) -> ModelConfig:
        """RecBole's defaults are for real data: a few dozen users would get one step an epoch."""
        return cls.Config(epochs=40, train_batch_size=64, learning_rate=0.01, MAX_ITEM_LIST_LENGTH=20)  # type: ignore[call-arg]

    @property
    def information(self) -> list[str]:
        return ["user"] * (self.member in WITH_USERS) + ["categories"] * self._takes_features

    @property
    def _takes_features(self) -> bool:
        return "selected_features" in type(self.config).model_fields

    def place(self, device: torch.device) -> None:
        self.device = device

    def fit(self, split: Split, seed: int) -> list[dict[str, Any]]:
        """Raises UsageError where these settings or data are not for this model, CpbenchError when the loss is NaN."""
        from recbole.trainer import Trainer

        from . import bridge

        trained = split.train_mask()
        users, items = split.dataset.user_of_interaction()[trained], split.dataset.items[trained].astype(np.int64)
        if not (np.diff(users) == 0).any():
            raise UsageError(f"{self.name} cannot be trained on {split.dataset.name!r}: no user has two training "
                             "interactions")
        self.n_users = split.dataset.n_users
        self.popularity = torch.from_numpy(split.train_counts).float()
        curve: list[dict[str, Any]] = []
        best: dict[str, Any] = {}
        with undisturbed(), tempfile.TemporaryDirectory() as folder:
            # all five generators: RecBole draws from three, and cuDNN must be deterministic
            bridge.init_seed(seed, True)
            settings = self._settings(checkpoint_dir=folder, seed=seed)
            data = bridge.Prepared(settings, self.facts, self.n_users, users, items)
            training = bridge.training_data(settings, data)
            validation = bridge.validation_data(settings, data, split)
            self.model = self._build(settings, data)
            trainer = Trainer(settings, self.model)

            def keep(epoch: int, **_: Any) -> None:  # RecBole would pickle them into a file
                best.update(epoch=epoch + 1, weights={name: tensor.detach().clone()
                                                      for name, tensor in self.model.state_dict().items()})

            def note(epoch: int, score: float) -> None:
                curve.append({"epoch": epoch + 1, "epochs": self.config.epochs, "loss": trainer.train_loss_dict[epoch],
                              "valid": {f"NDCG@{max(settings['topk'])}": float(score)}, "best_epoch": best["epoch"]})

            trainer._save_checkpoint = keep
            try:
                trainer.fit(training, validation, verbose=False, saved=True, callback_fn=note)
            except ValueError as error:
                if "nan" not in str(error):
                    raise
                raise CpbenchError(f"the training loss of {self.name} became NaN; lower learning_rate") from error
            self.model.load_state_dict(best["weights"])
        return curve

    def _settings(self, **more: Any) -> Any:
        from .bridge import Settings

        values = self.config.model_dump()
        if self._takes_features:
            values["selected_features"] = values["selected_features"] or sorted(self.facts.attributes)
        if values.get("loss_type") == "CE":  # a softmax over the catalogue: RecBole demands that it be said
            values["train_neg_sample_args"] = None
        values |= {"metrics": ["NDCG"], "topk": [min(10, self.facts.n_items)], "use_gpu": self.device.type == "cuda",
                   "valid_metric": f"NDCG@{min(10, self.facts.n_items)}", "metric_decimal_place": 12, **more}
        return Settings(self.member, values, self.device)

    def _build(self, settings: Any, data: Any) -> Any:
        """The model of RecBole, untrained; its constructor's complaints are about the settings."""
        from .bridge import construct_transform

        construct_transform(settings)  # it leaves names of columns in the settings, which BERT4Rec reads
        try:
            return settings.model_class(settings, data).to(self.device)
        except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UsageError(f"{self.name} cannot be built with these settings: {reason}") from error

    def score(self, histories: Histories) -> Tensor:
        from .bridge import interaction

        with undisturbed(), torch.no_grad():
            self.model.eval()
            rows = interaction(self._settings(), histories).to(self.device)
            scores = self.model.full_sort_predict(rows).view(len(histories), -1)[:, 1:].float().cpu()  # 0 is padding
        empty = histories.lengths == 0
        return torch.where(empty[:, None], self.popularity, scores)

    def tensors(self) -> dict[str, Tensor]:
        weights = {f"model.{name}": tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        return {"popularity": self.popularity, "n_users": torch.tensor(self.n_users), **weights}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        from .bridge import Prepared

        self.popularity, self.n_users = tensors["popularity"], int(tensors["n_users"])
        pair = np.zeros(2, np.int64)  # a dataset must hold something; only training looks at it
        with undisturbed():
            settings = self._settings()
            self.model = self._build(settings, Prepared(settings, self.facts, self.n_users, pair, pair))
            self.model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items()
                                        if name.startswith("model.")})

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())
