"""One training loop for every gradient-trained model.

All randomness of epoch e comes from (seed, e): the data order from a numpy generator, everything inside the model
from torch's default generator, seeded anew. So resuming at an epoch needs no generator state, and a run that was
killed at any instant ends in the same numbers as one that was not.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from cpbench.data.batches import TrainingPrefixes, TrainingSequences
from cpbench.data.protocol import Split
from cpbench.errors import CpbenchError, UsageError
from cpbench.evaluation.evaluate import evaluate
from cpbench.models.base import NeuralRecommender
from cpbench.training import allocator
from cpbench.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from cpbench.training.config import Precision, TrainingConfig
from cpbench.training.precision import used_precision

SELECTED_BY = 10
SELECTION_METRIC = f"NDCG@{SELECTED_BY}"


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did: mean loss and named parts over targets, validation metrics when it was validated."""

    epoch: int
    epochs: int
    loss: float
    parts: dict[str, float]
    valid: dict[str, float] | None
    seconds: float
    best_epoch: int


@dataclass(frozen=True)
class TrainingResult:
    """curve: one EpochReport a row, as a dict; fit_seconds: training and validation, over all resumptions; precision:
    what matrix products were computed in, empty where nothing is trained by gradients; out_of_time: `max_minutes` ended
    it, so that another machine gets other numbers."""

    curve: list[dict]
    epochs: int
    best_epoch: int
    fit_seconds: float
    precision: Precision | Literal[""] = ""
    out_of_time: bool = False

    @property
    def selected_by(self) -> str:
        """What chose `best_epoch`; empty for models without epochs."""
        return f"validation {SELECTION_METRIC}" if self.best_epoch else ""


def choose_device(name: str) -> torch.device:
    """``auto`` is a GPU where there is one. Raises UsageError for a device this machine lacks.

    From here on torch adds up in a fixed order, so that a seed gives the same numbers again: on a GPU, and on several
    threads of a processor, where the gradient of ``table[index]`` would else come in the order in which threads arrive.
    An operation that cannot is an error (a model of your own may allow it: torch.use_deterministic_algorithms(False)).
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not available here; use auto, cpu or cuda") from error
    return device


def seed_everything(seed: int, stream: int) -> np.random.Generator:
    """Seed torch's default generator from (seed, stream) and return a numpy generator from the same pair."""
    words = np.random.SeedSequence((seed, stream)).generate_state(2, np.uint64)
    torch.manual_seed(int(words[0] >> np.uint64(1)))
    return np.random.default_rng(words[1])


def train(model: NeuralRecommender, split: Split, config: TrainingConfig, seed: int, folder: Path | None = None,
          on_epoch: Callable[[EpochReport], None] | None = None, device: str = "auto",
          validate: Callable[[NeuralRecommender], dict[str, float]] | None = None,
          tape: Path | None = None, say: Callable[[str], None] = lambda text: None) -> TrainingResult:
    """Train until validation NDCG@10 stops improving; the model then holds its best weights.

    `validate` gives the validation metrics; by default those of the split's validation events. `say` is told what the
    model remarks about what it made of the data before the first step.

    With `folder`, the state is saved there after every epoch and found again by the next call. With `tape`, the state
    after each epoch is kept there, and an epoch that is there already is not trained again: what validates otherwise,
    but trains alike, gets the same numbers as from a training of its own.

    Raises UsageError for settings and data that do not fit together, and CpbenchError when the loss is not finite or a
    score NaN, which leaves no state in `folder`, or when a state cannot be written, which leaves the one before it.
    Sums stay in a fixed order in this process (`choose_device`).
    """
    if not isinstance(model, NeuralRecommender):
        raise UsageError(f"{type(model).__name__} is not trained by gradients: call its `fit`")
    _check(model, config)
    model.to(choose_device(device))
    precision = used_precision(config.precision, model.device)
    if precision != config.precision:
        say(f"training in {precision}: this {model.device.type.upper()} has no instructions for {config.precision}")
    kind = TrainingPrefixes if config.one_target else partial(TrainingSequences, random_windows=config.random_windows)
    sequences = kind(split, model.max_length, config.batch_size, length_groups=config.length_groups)
    if not len(sequences):
        raise UsageError(f"dataset {split.dataset.name!r} has no user with two training interactions")
    model.begin_training(split)
    for remark in model.remarks:
        say(remark)
    optimizer = _optimizer(model, config)
    steps = config.epochs * len(sequences)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(config, step, steps))
    measure = validate or (lambda model: evaluate(model, split, split.valid, only_accuracy=True).metrics)
    progress = (load_checkpoint(folder, model, optimizer, schedule) if folder else None) or Progress()

    while not _finished(progress, config):
        started = time.perf_counter()
        epoch = progress.epoch + 1
        taped = load_checkpoint(tape / str(epoch), model, optimizer, schedule) if tape else None
        try:
            if taped:
                loss, parts = taped.curve[-1]["loss"], taped.curve[-1]["parts"]
            else:
                loss, parts = _one_epoch(model, sequences, optimizer, schedule, config, precision,
                                         seed_everything(seed, epoch), epoch)
            trained = time.perf_counter() - started
            late = _out_of_time(progress.seconds + (taped.seconds if taped else trained), config)
            validated = late or epoch % config.validate_every == 0 or epoch == config.epochs
            valid = measure(model) if validated else None
        except CpbenchError:  # it diverged (nothing is written here): every saved state would lead here again
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if tape and not taped:
            save_checkpoint(tape / str(epoch), model, optimizer, schedule,
                            Progress(epoch, seconds=trained, curve=[{"loss": loss, "parts": parts}]))
        if valid is not None and (progress.best_epoch == 0 or valid[SELECTION_METRIC] > progress.best_value):
            progress.best_epoch, progress.best_value = epoch, valid[SELECTION_METRIC]
            progress.best_tensors = {name: tensor.clone() for name, tensor in model.tensors().items()}
        progress.epoch = epoch
        seconds = time.perf_counter() - started + (taped.seconds - trained if taped else 0.0)
        progress.seconds += seconds
        report = EpochReport(epoch, config.epochs, loss, parts, valid, seconds, progress.best_epoch)
        progress.curve.append(asdict(report))
        if folder:
            save_checkpoint(folder, model, optimizer, schedule, progress)
        allocator.trim()
        if on_epoch:
            on_epoch(report)

    out_of_time = progress.epoch < config.epochs and not _stale(progress, config)
    if out_of_time:
        say(f"stopped by the clock at epoch {progress.epoch} of {config.epochs} (max_minutes = "
            f"{config.max_minutes:g}): another machine would stop elsewhere")
    model.load_tensors(progress.best_tensors)
    model.eval()
    return TrainingResult(progress.curve, progress.epoch, progress.best_epoch, progress.seconds, precision, out_of_time)


def _check(model: NeuralRecommender, config: TrainingConfig) -> None:
    """Raises UsageError for settings with which this model cannot be trained."""
    if model.beam is not None and model.beam < SELECTED_BY:
        raise UsageError(f"{model.name} makes lists of {model.beam}, but validation looks at the first {SELECTED_BY}")
    if config.one_target and not model.trains_one_target:
        raise UsageError(f"{model.name} cannot be trained with one_target = true: "
                         "its loss asks every position of a sequence")
    if config.one_target and config.random_windows:
        raise UsageError("one_target = true and random_windows = true exclude each other: every prefix is a sequence "
                         "already, and there is no window to draw; set random_windows = false")


def _finished(progress: Progress, config: TrainingConfig) -> bool:
    if progress.epoch >= config.epochs:
        return True
    if not progress.best_epoch:
        return False
    validated = progress.curve[-1]["valid"] is not None  # what was trained is not thrown away unseen
    return _stale(progress, config) or (validated and _out_of_time(progress.seconds, config))


def _stale(progress: Progress, config: TrainingConfig) -> bool:
    return (progress.epoch - progress.best_epoch) // config.validate_every >= config.patience


def _out_of_time(seconds: float, config: TrainingConfig) -> bool:
    return 0 < config.max_minutes * 60 <= seconds


def _one_epoch(model: NeuralRecommender, sequences: TrainingSequences, optimizer: torch.optim.Optimizer,
               schedule: torch.optim.lr_scheduler.LambdaLR, config: TrainingConfig, precision: Precision,
               order: np.random.Generator, epoch: int) -> tuple[float, dict[str, float]]:
    model.train()
    total, parts = 0.0, dict[str, float]()
    for step in sequences.steps(order):
        optimizer.zero_grad(set_to_none=True)
        for batch in step:
            with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                loss, named = model.training_loss(batch.to(model.device))
            value = loss.item()
            if not math.isfinite(value):
                raise CpbenchError(f"the loss of {model.name} became {value} in epoch {epoch}; "
                                   "lower learning_rate or set clip_norm")
            # batches of long sequences hold more targets: every target of an epoch weighs the same, not every batch
            targets, epoch_targets = int((batch.lengths - 1).sum()), sequences.n_targets
            if batch.one_target or model.asks_one_position:
                targets, epoch_targets = len(batch.items), sequences.n_sequences
            (loss * (targets * len(sequences) / epoch_targets)).backward()
            share = targets / epoch_targets
            total += value * share
            for name, part in named.items():
                parts[name] = parts.get(name, 0.0) + part * share
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        schedule.step()
    return total, parts


def _optimizer(model: NeuralRecommender, config: TrainingConfig) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(model.parameters(), lr=config.learning_rate, betas=(0.9, config.beta2),
                weight_decay=config.weight_decay, fused=True)


def _rate(config: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate's factor at `step`."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    done = min((step - config.warmup_steps) / max(steps - config.warmup_steps, 1), 1.0)
    remaining = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return 0.1 + 0.9 * remaining
