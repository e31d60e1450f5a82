"""When a run is saved, and which of its checkpoints are kept.

    <folder>/step_000500.ckpt   the last few
             last.ckpt          a second name of the newest
             best.ckpt          a second name of the best one so far

A checkpoint that is due after a step is written when the next one begins: by then the validation
that follows the step is in the logs, so that a resumed run neither repeats nor misses it.
"""

import logging
import math
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from leffa.data.batch import Batch
from leffa.inference.checkpoints import LAST
from leffa.io.numbers import check_count
from leffa.training.callbacks.base import BatchCallback
from leffa.training.checkpoints import BEST, link, saved_step
from leffa.training.module import PersonGenerationModule as Module
from leffa.training.sharding import full_tensor

log = logging.getLogger(__name__)


class Checkpoints(BatchCallback, Checkpoint):
    """Saves every so many steps, at the end of each stage, and after the best validation so far.

    Args:
        every_n_train_steps: optimiser steps between two of them.
        keep: how many of the last ones stay; from 2 on there is one to fall back to.
        monitor: the validation metric that decides which is best, if it is measured.
        mode: whether it is best when smallest or when largest.

    Raises:
        OSError: a checkpoint could not be written; those before it are intact.
        ValueError: the weights are not finite, so they are not saved.
    """

    def __init__(
        self,
        dirpath: str,
        every_n_train_steps: int = 500,
        keep: int = 2,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        for key, value in (("every_n_train_steps", every_n_train_steps), ("keep", keep)):
            check_count(f"callbacks.checkpoint.{key}", value)
        if mode not in ("min", "max"):
            raise ValueError(f"callbacks.checkpoint.mode must be min or max, got {mode}")
        self.folder = Path(dirpath)
        self.every = every_n_train_steps
        self.keep = keep
        self.monitor = monitor
        self.sign = 1.0 if mode == "min" else -1.0
        self.best = math.inf  # of sign * metric
        self.due = self.best_is_new = False
        self.saved = -1
        self.told = False  # that the metric is not measured

    def on_train_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self.saved = trainer.global_step

    def batch_start(self, module: Module, batch: Batch, index: int) -> None:
        if self.due:
            self.save(module.trainer)

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        step = module.trainer.global_step
        self.due = self.due or (step > self.saved and step % self.every == 0)

    def on_validation_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if self.monitor is None or not fitting:
            return
        measured = trainer.callback_metrics
        value = measured.get(self.monitor)
        if value is None:
            if not self.told:
                few = sorted(key for key in measured if "val/" in key and "layers" not in key)
                log.warning(
                    "%s is not measured, so there is no best.ckpt, and a sweep has nothing to "
                    "compare; objective_metric may be %s",
                    *(self.monitor, ", ".join(few)),
                )
            self.told = True
            return
        if self.sign * value.item() < self.best:
            self.best = self.sign * value.item()
            self.due = self.best_is_new = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save now, unless this step is saved; to be called by every process, between steps."""
        self.due = False
        if trainer.global_step == self.saved:
            return
        _check_finite(trainer)
        path = self.folder / f"step_{trainer.global_step:06d}.ckpt"
        for logger in trainer.loggers:  # a log must not end before its checkpoint
            logger.save()
        trainer.save_checkpoint(path, weights_only=False)
        self.saved = trainer.global_step
        if trainer.is_global_zero:
            link(path, self.folder / LAST)
            if self.best_is_new:
                link(path, self.folder / BEST)
            self._tidy()
        self.best_is_new = False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def _tidy(self) -> None:
        """Remove what is older than the last few, and what a run that was gone back from left."""
        found = {path: saved_step(path) for path in self.folder.glob("step_*.ckpt")}
        kept = sorted(step for step in found.values() if step <= self.saved)[-self.keep :]
        for path, step in found.items():
            if step not in kept:
                path.unlink()


def _check_finite(trainer: Trainer) -> None:
    for name, parameter in trainer.lightning_module.named_parameters():
        if parameter.requires_grad and not torch.isfinite(full_tensor(parameter)).all():
            raise ValueError(
                f"step {trainer.global_step}: the weights {name} are not finite, so they are not "
                "saved; the last checkpoint is untouched"
            )
