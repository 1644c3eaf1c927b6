"""RecBole 1.2.1 beside today's packages: how it is imported, and what of it must not reach the rest of the process.

Most of what breaks it is not met here, because its files, its command line, its checkpoints and its tuning are not
used (docs/recbole.md); what is left is cured in this module. Nothing else imports RecBole before `require`.
"""

import importlib
import logging
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from cpbench.errors import UsageError

INSTALL = "`pip install 'cpbench[recbole]'` installs it (RecBole 1.2.1, which needs Python 3.11)"
MODULES = ("recbole.config", "recbole.data.dataset", "recbole.data.dataloader", "recbole.model.sequential_recommender",
           "recbole.sampler", "recbole.trainer")


def require() -> None:
    """Import RecBole. Raises UsageError, one sentence, when it is not there or does not import."""
    try:
        with undisturbed():
            modules = [importlib.import_module(name) for name in MODULES]
    except ModuleNotFoundError as error:
        if error.name == "recbole":
            raise UsageError(f"RecBole is not installed: {INSTALL}") from error
        raise UsageError(f"RecBole is installed but lacks a package ({error}): {INSTALL}") from error
    except Exception as error:  # an installation of other versions may fail in any way
        raise UsageError(f"RecBole is installed but does not import ({type(error).__name__}: {error}): {INSTALL}"
                         ) from error
    if not hasattr(modules[0], "cured"):
        _cure()
        modules[0].cured = True  # type: ignore[attr-defined]


def _cure() -> None:
    """What cannot be helped from outside: three habits, each in RecBole's own modules."""
    trainer, transform = sys.modules["recbole.trainer.trainer"], sys.modules["recbole.data.transform"]
    # it would write log_tensorboard/ into the working folder
    trainer.__dict__["get_tensorboard"] = lambda logger: _Silent()
    # some models print, which would spoil --json
    for name, module in list(sys.modules.items()):
        if name.startswith("recbole.model."):
            module.__dict__["print"] = lambda *_, **__: None
    # it would look for ever for an item that is not in a history that holds them all
    sample = transform.MaskItemSequence._neg_sample

    def sample_if_there_is_one(self: Any, held: list[int], n_items: int) -> int:
        return sample(self, held if len({*held} - {0}) < n_items - 1 else [], n_items)

    transform.MaskItemSequence._neg_sample = sample_if_there_is_one


class _Silent:
    """A tensorboard that writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Whatever RecBole does to random generators, logging, warnings, numpy, cuDNN and autograd ends with the block.

    Inside, it is silent, and anomaly detection is off (its module `sine` switches it on at import, which costs a third
    of the speed of every model).
    """
    python, numpy = random.getstate(), np.random.get_state()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    anomaly, silenced = torch.is_anomaly_enabled(), logging.root.manager.disable
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        torch.autograd.set_detect_anomaly(False)
        np.float = float  # type: ignore[attr-defined]  # RecBole's metrics call it by its old name
        try:
            yield
        finally:
            del np.float  # type: ignore[attr-defined]
            random.setstate(python)
            np.random.set_state(numpy)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
            torch.autograd.set_detect_anomaly(anomaly)
            logging.disable(silenced)
