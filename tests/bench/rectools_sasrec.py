"""SASRec of RecTools: full softmax, the best items of every test user, seen items left out."""

import time

import pandas as pd
import torch
import workload
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel


class Clock(Callback):
    def __init__(self, clock: workload.EpochClock) -> None:
        self.clock = clock

    def on_train_epoch_start(self, *_: object) -> None:
        self.clock.start()

    def on_train_epoch_end(self, *_: object) -> None:
        self.clock.stop()


def main() -> None:
    asked = workload.arguments(__doc__)
    user, item, _ = workload.interactions(asked.data)
    following = workload.from_end(user)
    # equal times must not reorder a user's interactions: the place in the sequence serves as the time
    place = pd.to_datetime(pd.Series(range(len(user))), unit="s")
    frame = pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1.0, Columns.Datetime: place})
    training = Dataset.construct(frame[following >= 2])
    visible = Dataset.construct(frame[following >= 1])

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=1 + asked.epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", callbacks=[Clock(workload.EpochClock())],
            precision="bf16-mixed" if asked.precision == "bfloat16" else "32-true",
        )

    torch.manual_seed(1)
    model = SASRecModel(
        session_max_len=workload.LENGTH, n_factors=workload.WIDTH, n_blocks=workload.BLOCKS, n_heads=workload.HEADS,
        dropout_rate=workload.DROPOUT, batch_size=workload.BATCH, lr=workload.LEARNING_RATE, loss="softmax",
        get_trainer_func=trainer,
    )
    model.fit(training)
    clock = next(part.clock for part in model.fit_trainer.callbacks if isinstance(part, Clock))  # it was copied

    users = frame[Columns.User].unique()
    started = time.perf_counter()
    lists = model.recommend(users, visible, k=workload.TOP, filter_viewed=True)
    taken = time.perf_counter() - started
    answers = frame[following == 0]
    hits = lists.merge(answers, on=[Columns.User, Columns.Item]).shape[0]
    workload.report(clock.seconds, taken, test_users=len(users), hit_rate_10=hits / len(users))


if __name__ == "__main__":
    main()
