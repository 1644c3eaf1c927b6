"""SASRec of cpbench: full softmax, exact ranks of every test user over the whole catalogue."""

import numpy as np
import polars as pl
import workload
from cpbench.baselines.sasrec import SASRec, SASRecConfig

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Protocol, split
from cpbench.evaluation.evaluate import evaluate
from cpbench.models.base import Facts
from cpbench.training import allocator
from cpbench.training.config import TrainingConfig
from cpbench.training.loop import EpochReport, seed_everything, train


def main() -> None:
    asked = workload.arguments(__doc__)
    user, item, time = workload.interactions(asked.data)
    dataset = Dataset(
        name="bench",
        items=item.astype(np.int32),
        times=time,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(user))]).astype(np.int64),
        user_ids=pl.Series("id", np.arange(user.max() + 1)).cast(pl.String),
        item_table=pl.DataFrame({"id": np.arange(item.max() + 1)}).cast(pl.String),
    )
    made = split(dataset, Protocol(exclude_seen=True))
    allocator.tune()
    seed_everything(1, 0)
    config = SASRecConfig(length=workload.LENGTH, width=workload.WIDTH, blocks=workload.BLOCKS,
                          heads=workload.HEADS, dropout=workload.DROPOUT, loss="softmax")
    model = SASRec(config, Facts.of(dataset))
    epochs = 1 + asked.epochs + 1  # the last one validates: left out
    training = TrainingConfig(epochs=epochs, patience=epochs, validate_every=epochs, batch_size=workload.BATCH,
                              learning_rate=workload.LEARNING_RATE, precision=asked.precision)
    seconds: list[float] = []

    def note(epoch: EpochReport) -> None:
        seconds.append(epoch.seconds)

    train(model, made, training, seed=1, on_epoch=note)
    result = evaluate(model, made, made.test)
    workload.report(seconds[:-1], result.seconds, test_users=len(made.test), hit_rate_10=result.metrics["HR@10"])


if __name__ == "__main__":
    main()
