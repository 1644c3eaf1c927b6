"""Training state between epochs: safetensors and JSON, never pickle; replaced atomically."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cpbench.errors import CpbenchError
from cpbench.files import atomic_folder, restore_folder
from cpbench.models.base import NeuralRecommender


@dataclass
class Progress:
    """How far training has come: epochs done, the best so far and its weights, the curve, seconds spent."""

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = 0.0
    seconds: float = 0.0
    curve: list[dict] = field(default_factory=list)
    best_tensors: dict[str, Tensor] = field(default_factory=dict)


def save_checkpoint(folder: Path, model: NeuralRecommender, optimizer: torch.optim.Optimizer,
                    schedule: torch.optim.lr_scheduler.LambdaLR, progress: Progress) -> None:
    """Replace `folder` by the state after the last epoch, whole or not at all. Raises CpbenchError when it cannot."""
    optimizer_state = optimizer.state_dict()["state"]
    tensors = {f"model.{name}": tensor for name, tensor in model.tensors().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best_tensors.items()}
    tensors |= {f"optimizer.{index}.{name}": value.cpu()
                for index, state in optimizer_state.items() for name, value in state.items()}
    document = {"epoch": progress.epoch, "best_epoch": progress.best_epoch, "best_value": progress.best_value,
                "seconds": progress.seconds, "curve": progress.curve, "steps": schedule.last_epoch}
    with atomic_folder(folder) as temporary:
        try:
            save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()},
                      temporary / "state.safetensors")
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error
        (temporary / "progress.json").write_text(json.dumps(document), encoding="utf-8")


def load_checkpoint(folder: Path, model: NeuralRecommender, optimizer: torch.optim.Optimizer,
                    schedule: torch.optim.lr_scheduler.LambdaLR) -> Progress | None:
    """Restore what `save_checkpoint` wrote; None when nothing was. Raises CpbenchError when it is damaged."""
    restore_folder(folder)
    if not (folder / "progress.json").exists():
        return None
    try:
        document = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "state.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CpbenchError(f"the checkpoint in {folder} is damaged ({error}); start again with --force") from error
    part: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        kind, rest = name.split(".", 1)
        part[kind][rest] = tensor
    model.load_tensors(part["model"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part["optimizer"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    schedule.last_epoch = document["steps"]
    for group, base, factor in zip(optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = base * factor(document["steps"])
    return Progress(document["epoch"], document["best_epoch"], document["best_value"], document["seconds"],
                    document["curve"], part["best"])
