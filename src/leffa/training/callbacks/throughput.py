"""Images per second, the share of the time spent waiting for data, and memory."""

import resource
import sys
import time
from typing import Any

import torch
from lightning import Callback, Trainer

from leffa.data.batch import Batch
from leffa.training.module import PersonGenerationModule


class Throughput(Callback):
    """Logs `speed/images_per_s` (all devices) and `speed/data_wait` (0 to 1), means since the last
    log, and `speed/memory_gb`: the most that the device, or on a CPU the process, has held so far.

    Args:
        every: micro-batches per logged value.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: PersonGenerationModule) -> None:  # type: ignore[override]
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: PersonGenerationModule) -> None:  # type: ignore[override]
        self._restart()

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self.waited += time.perf_counter() - self.last_end

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self.last_end = time.perf_counter()
        self.images += len(batch["name"]) * trainer.world_size
        self.batches += 1
        if self.batches == self.every:
            elapsed = self.last_end - self.start
            pl_module.log("speed/images_per_s", self.images / elapsed, prog_bar=True, batch_size=1)
            pl_module.log("speed/data_wait", self.waited / elapsed, prog_bar=True, batch_size=1)
            pl_module.log("speed/memory_gb", _peak_memory(pl_module.device) / 1e9, prog_bar=True)
            self._restart()

    def _restart(self) -> None:
        self.start = self.last_end = time.perf_counter()
        self.images, self.batches, self.waited = 0, 0, 0.0


def _peak_memory(device: torch.device) -> float:
    """Bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024.0
