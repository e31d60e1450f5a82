"""How far a run is, told to whoever waits for it, e.g. to the process that started it."""

from collections.abc import Callable
from typing import Any

from lightning import Callback, Trainer

from leffa.data.batch import Batch
from leffa.training.module import PersonGenerationModule


class ProgressReport(Callback):
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

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self.total = self.memory * self.total + outputs["result"].diffusion.mean().item()
        self.weight = self.memory * self.weight + 1.0
        self.tell(trainer.global_step, self.total / self.weight)
