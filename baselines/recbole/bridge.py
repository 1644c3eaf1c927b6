"""Our split in RecBole's own classes, in memory: a Config, a training dataset, a validation loader.

RecBole numbers users and items from 1; 0 is its padding. This module imports RecBole: `compatibility.require` first.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from recbole.config import Config
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.data.transform import construct_transform
from recbole.sampler import RepeatableSampler
from recbole.utils import FeatureSource, FeatureType, init_seed

from cpbench.data.dataset import Attribute
from cpbench.data.protocol import Split
from cpbench.errors import UsageError
from cpbench.models.base import Facts, Histories

__all__ = ["Numbers", "Prepared", "Settings", "construct_transform", "init_seed", "interaction", "training_data",
           "validation_data"]


class Numbers(yaml.FullLoader):
    """RecBole's files write 1e-5 and mean a number."""


Numbers.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
                              list("-+0123456789"))


class Settings(Config):
    """RecBole's Config from its own defaults and `values`, and from nothing else.

    As RecBole wrote it, it would read the command line, evaluate every string as Python, overwrite attributes of
    numpy, teach yaml other numbers and set CUDA_VISIBLE_DEVICES.
    """

    def __init__(self, model: str, values: dict[str, Any], device: torch.device) -> None:
        self.place = device
        super().__init__(model=model, dataset="cpbench", config_dict=values)

    def compatibility_settings(self) -> None:
        pass

    def _build_yaml_loader(self) -> type[yaml.FullLoader]:
        return Numbers

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return config_dict

    def _init_device(self) -> None:
        self.final_config_dict.update(single_spec=True, local_rank=0, device=self.place)


class Prepared(SequentialDataset):
    """Interactions handed over in memory, over a catalogue in which item i of ours is i + 1.

    `users`, `items` int64 [M] count from 0; rows of one user are in order. RecBole's own augmentation makes one row of
    every prefix, cut to the last MAX_ITEM_LIST_LENGTH items.
    """

    def __init__(self, config: Settings, facts: Facts, n_users: int, users: np.ndarray, items: np.ndarray) -> None:
        self.facts = facts
        self.size = {config["USER_ID_FIELD"]: n_users, config["ITEM_ID_FIELD"]: facts.n_items}
        self.rows = users + 1, items + 1
        super().__init__(config)
        self._change_feat_format()

    def _load_data(self, token: str, dataset_path: str) -> None:
        users, items = self.rows
        first = np.searchsorted(users, users)
        # the order is ours, ties included: what RecBole sorts by is the place in the user's sequence
        self.inter_feat = pd.DataFrame({self.uid_field: users, self.iid_field: items,
                                        self.time_field: (np.arange(len(users)) - first).astype(np.float64)})
        self.set_field_property(self.uid_field, FeatureType.TOKEN, FeatureSource.USER_ID, 1)
        self.set_field_property(self.iid_field, FeatureType.TOKEN, FeatureSource.ITEM_ID, 1)
        self.set_field_property(self.time_field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)
        self.user_feat = self.item_feat = None
        selected = self.config["selected_features"]
        if selected:
            columns = {name: _values(self.facts.attributes[name]) for name in selected}
            for name, values in columns.items():
                self.set_field_property(name, FeatureType.TOKEN_SEQ, FeatureSource.ITEM, max(map(len, values)))
            self.item_feat = pd.DataFrame({self.iid_field: np.arange(self.facts.n_items + 1), **columns})

    def _data_filtering(self) -> None:
        """The filters were ours."""

    def _fill_nan(self) -> None:
        """Nothing is missing."""

    def _remap_ID_all(self) -> None:  # noqa: N802 (RecBole's name)
        """The ids are ours; a field's size is that of the whole catalogue, not of what training holds."""
        names = {field: np.arange(size + 1).astype(str) for field, size in self.size.items()}
        names |= {name: np.array(["[PAD]", *self.facts.attributes[name].names])
                  for name in self.config["selected_features"] or []}
        self.field2id_token = names
        self.field2token_id = {field: {name: place for place, name in enumerate(row)} for field, row in names.items()}


def _values(attribute: Attribute) -> list[np.ndarray]:
    """The values of every item from 1, after the padding item's none; an item without any gets padding."""
    lists = np.split(attribute.values.astype(np.int64) + 1, attribute.offsets[1:-1])
    return [np.zeros(1, np.int64), *(values if len(values) else np.zeros(1, np.int64) for values in lists)]


def interaction(config: Settings, histories: Histories) -> Interaction:
    """Histories as RecBole's models read them: the last items, right-padded with 0, and how many. None is empty."""
    length = config["MAX_ITEM_LIST_LENGTH"]
    padded = histories.padded(length)
    items = torch.zeros(len(histories), length, dtype=torch.int64)
    items[:, :padded.items.shape[1]] = (padded.items + 1) * padded.real()
    users = torch.zeros(len(histories), dtype=torch.int64) if histories.users is None else histories.users + 1
    lengths = padded.lengths.clamp(min=1)
    # GRU4RecCPR and SASRecCPR ask for a target when they rank, for a loss that they throw away: any item will do
    found = Interaction({config["USER_ID_FIELD"]: users, config["ITEM_ID_FIELD"]: torch.ones_like(users),
                         config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]: items,
                         config["ITEM_LIST_LENGTH_FIELD"]: lengths})
    if config["transform"] == "inverse_itemseq":  # the one transform that is not for training only
        found = construct_transform(config)(None, found)
    return found


def training_data(config: Settings, dataset: Prepared) -> TrainDataLoader:
    """RecBole's own loader, with its sampler where the loss needs negatives. Raises UsageError where none exist."""
    negatives = config["train_neg_sample_args"]
    sampler = None
    if negatives["distribution"] != "none":
        if dataset.item_num < 3:  # the padding is one of them; RecBole would look for ever
            raise UsageError(f"recbole:{config['model']} learns from items that were not taken: a catalogue of one has "
                             "none")
        sampler = RepeatableSampler(["train"], dataset, negatives["distribution"], negatives["alpha"])
        sampler = sampler.set_phase("train")
    return TrainDataLoader(config, dataset, sampler, shuffle=config["shuffle"])


def validation_data(config: Settings, dataset: Prepared, split: Split) -> "ValidationData":
    """The validation events that have a history (a model cannot do anything about the others).

    Raises UsageError when there is none.
    """
    told = split.valid.end > split.valid.start
    events = type(split.valid)(*(getattr(split.valid, name)[told] for name in ("users", "start", "end", "target")))
    if not len(events):
        raise UsageError(f"no validation event of {split.dataset.name!r} has a history: RecBole cannot choose an epoch")
    histories = Histories.of_events(split.dataset, events)
    rows = interaction(config, histories)
    rows[config["ITEM_ID_FIELD"]] = torch.from_numpy(split.dataset.items[events.target].astype(np.int64)) + 1
    return ValidationData(config, dataset.copy(rows), histories if split.protocol.exclude_seen else None)


class ValidationData(FullSortEvalDataLoader):
    """Full ranking of validation events; with `histories`, without the items that were seen (RecBole keeps them)."""

    def __init__(self, config: Settings, dataset: Prepared, histories: Histories | None) -> None:
        self.histories = histories
        super().__init__(config, dataset, None, shuffle=False)
        self.transform = lambda _, rows: rows  # `interaction` has done what ranking needs

    def collate_fn(self, index: Any) -> tuple:
        rows, _, places, targets = super().collate_fn(index)
        if self.histories is None:
            return rows, None, places, targets
        offsets = self.histories.offsets
        seen = [self.histories.items[offsets[row]:offsets[row + 1]] + 1 for row in index]
        where = torch.repeat_interleave(torch.arange(len(index)), torch.tensor([len(items) for items in seen]))
        return rows, (where, torch.cat(seen)), places, targets
