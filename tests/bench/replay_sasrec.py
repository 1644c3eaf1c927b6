"""SASRec of RePlay (its new replay.nn): its cross-entropy over all items, the best items of every test user."""

import tempfile
import time
from pathlib import Path

import lightning
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import workload
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.data.nn.parquet import ParquetModule
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import TorchTopItemsCallback
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.sequential import LengthBucketedQueryEncoder, SasRec
from replay.nn.transform.template import make_default_sasrec_transforms


class Clock(lightning.Callback):
    def __init__(self, clock: workload.EpochClock) -> None:
        self.clock = clock

    def on_train_epoch_start(self, *_: object) -> None:
        self.clock.start()

    def on_train_epoch_end(self, *_: object) -> None:
        self.clock.stop()


def write_sequences(path: Path, user: np.ndarray, item: np.ndarray) -> None:
    """One row a user: the id and the items, oldest first, twice (the model's input; the items to leave out)."""
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    lists = pa.ListArray.from_arrays(pa.array(np.append(starts, len(user)), pa.int32()), pa.array(item))
    pq.write_table(pa.table({"user_id": pa.array(user[starts]), "item_id": lists, "seen_ids": lists}), path)


def main() -> None:
    asked = workload.arguments(__doc__)
    user, item, _ = workload.interactions(asked.data)
    following, n_items = workload.from_end(user), int(item.max()) + 1
    schema = TensorSchema([
        TensorFeatureInfo("item_id", is_seq=True, feature_type=FeatureType.CATEGORICAL, cardinality=n_items,
                          embedding_dim=workload.WIDTH, padding_value=n_items, feature_hint=FeatureHint.ITEM_ID,
                          feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")]),
    ])
    transforms = make_default_sasrec_transforms(schema)
    transforms = {"train": transforms["train"], "predict": transforms["predict"]}
    ids = {"user_id": {}}
    metadata = {
        # one more item than positions: the last is only a target
        "train": ids | {"item_id": {"shape": workload.LENGTH + 1, "padding": n_items}},
        "predict": ids | {"item_id": {"shape": workload.LENGTH, "padding": n_items},
                          "seen_ids": {"shape": int(np.bincount(user).max()), "padding": n_items}},
    }
    torch.manual_seed(1)
    model = SasRec.from_params(schema, embedding_dim=workload.WIDTH, num_heads=workload.HEADS,
                               num_blocks=workload.BLOCKS, max_sequence_length=workload.LENGTH,
                               dropout=workload.DROPOUT)
    if asked.length_buckets:
        model.body.encoder = LengthBucketedQueryEncoder(model.body.encoder, bucket_size=32)
    module = LightningModule(model, OptimizerFactory(learning_rate=workload.LEARNING_RATE))
    clock = workload.EpochClock()
    lists = TorchTopItemsCallback(workload.TOP, "user_id", postprocessors=[SeenItemsFilter(n_items)])
    trainer = lightning.Trainer(
        max_epochs=1 + asked.epochs, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", callbacks=[Clock(clock), lists],
        precision="bf16-mixed" if asked.precision == "bfloat16" else "32-true",
    )
    with tempfile.TemporaryDirectory() as folder:
        train, predict = Path(folder) / "train.parquet", Path(folder) / "predict.parquet"
        write_sequences(train, user[following >= 2], item[following >= 2])
        write_sequences(predict, user[following >= 1], item[following >= 1])
        data = ParquetModule(workload.BATCH, metadata, transforms, train_path=str(train), predict_path=str(predict))
        trainer.fit(module, data)
        started = time.perf_counter()
        trainer.predict(module, data, return_predictions=False)
        users, items, _ = lists.get_result()
        taken = time.perf_counter() - started
    answer = item[following == 0]  # by user
    hits = (items.numpy() == answer[users.numpy()][:, None]).any(axis=1)
    workload.report(clock.seconds, taken, test_users=len(hits), hit_rate_10=float(hits.mean()))


if __name__ == "__main__":
    main()
