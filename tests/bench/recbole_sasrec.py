"""Seconds per training epoch of RecBole's SASRec, through the adapter, and of ours at the same settings.

    python tests/bench/recbole_sasrec.py                     # ml-100k, one measured epoch after one of warm-up
    python tests/bench/recbole_sasrec.py --users 100         # does it run?

RecBole makes a row of every prefix; ours trains every position of a window at once. So beside the seconds stands how
many targets an epoch holds, and the last column compares targets per second. Validation is not timed. With one thread
(OMP_NUM_THREADS=1) what is counted is processor time, so that other work on the machine matters little.
"""

import argparse
import json
import statistics
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from cpbench.baselines.sasrec import SASRec, SASRecConfig

from cpbench.data import catalogue
from cpbench.data.batches import TrainingSequences
from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Protocol, Split, split
from cpbench.models.base import Facts
from cpbench.models.registry import model_class
from cpbench.training import allocator

clock = process_time if torch.get_num_threads() == 1 else perf_counter


def first_users(dataset: Dataset, users: int | None) -> Dataset:
    if users is None or users >= dataset.n_users:
        return dataset
    end = int(dataset.offsets[users])
    return Dataset(dataset.name, dataset.items[:end], dataset.times[:end], dataset.offsets[:users + 1],
                   dataset.user_ids[:users], dataset.item_table)


def ours(part: Split, epochs: int) -> dict[str, Any]:
    torch.manual_seed(1)
    config = SASRecConfig(length=50, width=64, blocks=2, heads=2, feed_forward=4, dropout=0.5, attention_dropout=0.5,
                          output_dropout=0.5, loss="softmax")
    model = SASRec(config, Facts.of(part.dataset)).train()
    model.begin_training(part)
    sequences, order = TrainingSequences(part, 50, 48, random_windows=True), np.random.default_rng(1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    seconds = []
    for _ in range(epochs + 1):
        begun = clock()
        for batch in sequences.epoch(order):
            optimizer.zero_grad(set_to_none=True)
            model.training_loss(batch)[0].backward()
            optimizer.step()
        seconds.append(clock() - begun)
    return {"seconds": statistics.median(seconds[1:]), "targets": sequences.n_targets}


def recboles(part: Split, epochs: int) -> dict[str, Any]:
    found = model_class("recbole:SASRec")
    from recbole.trainer import Trainer

    seconds, train = [], Trainer._train_epoch

    def timed(*given: Any, **named: Any) -> Any:
        begun = clock()
        result = train(*given, **named)
        seconds.append(clock() - begun)
        return result

    Trainer._train_epoch = timed
    found(found.Config(epochs=epochs + 1), Facts.of(part.dataset)).fit(part, 1)
    lengths = part.train_end - part.dataset.offsets[:-1]
    return {"seconds": statistics.median(seconds[1:]), "targets": int((lengths - 1).clip(min=0).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--users", type=int, help="only the first N users, for a quick check")
    parser.add_argument("--epochs", type=int, default=1, help="measured epochs, after one of warm-up")
    asked = parser.parse_args()
    allocator.tune()
    part = split(first_users(catalogue.load(asked.dataset), asked.users), Protocol())
    for name, measure in (("sasrec", ours), ("recbole:SASRec", recboles)):
        found = measure(part, asked.epochs)
        found["targets_per_second"] = round(found["targets"] / found["seconds"])
        print(json.dumps({"model": name, "threads": torch.get_num_threads(), **found}), flush=True)


if __name__ == "__main__":
    main()
