"""Images per second, the share of the time spent waiting for data, and memory."""

import sys
import time
from typing import Any

import torch
from lightning import Trainer

from leffa.data.batch import Batch
from leffa.io.numbers import check_count
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module


class Throughput(BatchCallback):
    """Logs, every so many micro-batches, `speed/images_per_s` of all devices and `speed/data_wait`
    (0 to 1), means since the last log, and `speed/memory_gb`: the most that the device, or on a CPU
    the process, has held so far."""

    def __init__(self, every: int = 10) -> None:
        check_count("callbacks.throughput.every", every)
        self.every = every
        self._restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self._restart()

    def batch_start(self, module: Module, batch: Batch, index: int) -> None:
        self.waited += time.perf_counter() - self.last_end

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        self.last_end = time.perf_counter()
        self.images += len(batch["name"]) * module.trainer.world_size
        self.batches += 1
        if self.batches == self.every:
            elapsed = self.last_end - self.start
            module.log("speed/images_per_s", self.images / elapsed, prog_bar=True, batch_size=1)
            module.log("speed/data_wait", self.waited / elapsed, prog_bar=True, batch_size=1)
            module.log("speed/memory_gb", peak_memory(module.device) / 1e9, prog_bar=True)
            self._restart()

    def _restart(self) -> None:
        self.start = self.last_end = time.perf_counter()
        self.images, self.batches, self.waited = 0, 0, 0.0


def peak_memory(device: torch.device) -> float:
    """Highest memory so far in bytes: of the allocator on a GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        import psutil

        memory: Any = psutil.Process().memory_info()  # of other fields on each system
        return float(memory.peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024.0
