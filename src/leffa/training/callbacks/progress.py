"""How far a run is, told to whoever waits for it, e.g. to the process that started it."""

from collections.abc import Callable
from typing import Any

from leffa.data.batch import Batch
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module


class ProgressReport(BatchCallback):
    """Calls `tell(steps done, diffusion loss)` after each training batch.

    The diffusion loss, since it is comparable between runs with and without the Leffa loss; a
    running mean, since a single batch says little.

    Args:
        tell: must be quick; the training waits for it.
        memory: weight of the past in the running mean, from 0 to 1.
    """

    def __init__(self, tell: Callable[[int, float], None], memory: float = 0.95) -> None:
        self.tell = tell
        self.memory = memory
        self.total = self.weight = 0.0

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        self.total = self.memory * self.total + outputs["result"].diffusion.mean().item()
        self.weight = self.memory * self.weight + 1.0
        self.tell(module.trainer.global_step, self.total / self.weight)
