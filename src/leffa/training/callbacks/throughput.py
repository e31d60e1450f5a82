"""Images per second, the share of the time spent waiting for data, and memory."""

import sys
import time
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor

from leffa.data.batch import Batch
from leffa.training.callbacks.base import BatchCallback
from leffa.training.flops import StepFlops
from leffa.training.module import PersonGenerationModule as Module


class Throughput(BatchCallback):
    """Logs `speed/images_per_s` (all devices) and `speed/data_wait` (0 to 1), means since the last
    log, and `speed/memory_gb`: the most that the device, or on a CPU the process, has held so far.
    With `peak_tflops` also `speed/utilisation` (0 to 1): the model's arithmetic per second as a
    share of what the devices can do (model FLOPs utilisation, arXiv 2204.02311, appendix B).

    Args:
        every: micro-batches per logged value.
        peak_tflops: 10^12 operations per second of one device at the run's precision; None where
            it is not known. The arithmetic is counted once per stage, on its first micro-batch.
    """

    def __init__(self, every: int = 10, peak_tflops: float | None = None) -> None:
        if peak_tflops is not None and peak_tflops <= 0:
            raise ValueError(f"hardware.peak_tflops={peak_tflops}: must be positive, or null")
        self.every = every
        self.peak_tflops = peak_tflops
        self.counting: StepFlops | None = None
        self.flops: float | None = None  # per picture of this stage
        self._restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self.flops = None
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self._restart()

    def batch_start(self, module: Module, batch: Batch, index: int) -> None:
        self.waited += time.perf_counter() - self.last_end
        if self.peak_tflops is not None and self.flops is None:
            self.counting = StepFlops(module.model)
            self.counting.forward()

    def on_before_backward(
        self,
        trainer: Trainer,
        pl_module: Module,  # type: ignore[override]
        loss: Tensor,
    ) -> None:
        if self.counting is not None:
            self.counting.backward()

    def on_after_backward(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        if self.counting is not None:
            self.flops = float(self.counting.count())  # of the micro-batch, see below

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        if self.counting is not None and self.flops is not None:
            self.flops /= len(batch["name"])
            self.counting = None
            self._restart()  # counting takes time
            return
        self.last_end = time.perf_counter()
        self.images += len(batch["name"]) * module.trainer.world_size
        self.batches += 1
        if self.batches == self.every:
            elapsed = self.last_end - self.start
            module.log("speed/images_per_s", self.images / elapsed, prog_bar=True, batch_size=1)
            module.log("speed/data_wait", self.waited / elapsed, prog_bar=True, batch_size=1)
            module.log("speed/memory_gb", peak_memory(module.device) / 1e9, prog_bar=True)
            if self.peak_tflops is not None and self.flops is not None:
                done = self.flops * self.images / elapsed / module.trainer.world_size
                share = done / (self.peak_tflops * 1e12)
                module.log("speed/utilisation", share, prog_bar=True, batch_size=1)
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
