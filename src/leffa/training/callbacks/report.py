"""The report of a run, updated during training."""

import time
from pathlib import Path
from typing import Any

from lightning import Trainer

from leffa.data.batch import Batch
from leffa.io.numbers import check_number
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module
from leffa.training.report import write_report


class RunReport(BatchCallback):
    """Writes `<folder>/report.html` every so many minutes, and at the end."""

    def __init__(self, folder: str, every_minutes: float = 2.0) -> None:
        self.folder = Path(folder)
        check_number("callbacks.report.every_minutes", every_minutes)
        self.every = 60 * every_minutes
        self.written = time.monotonic()

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        if time.monotonic() - self.written > self.every:
            self._write(module.trainer, module, "training")

    def on_train_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self._write(trainer, pl_module, "finished")

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: Module,  # type: ignore[override]
        exception: BaseException,
    ) -> None:
        if not isinstance(exception, OSError):  # a full disk has no room for a page either
            reason = str(exception) if isinstance(exception, Exception) else "asked to stop"
            self._write(trainer, pl_module, f"stopped: {reason}")

    def _write(self, trainer: Trainer, module: Module, state: str) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        step, steps = trainer.global_step, module.curriculum.steps
        write_report(self.folder, f"{state}, {step:,} of {steps:,} steps")
        self.written = time.monotonic()
