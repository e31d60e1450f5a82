"""How far a run is, told to whoever waits for it, e.g. to the process that started it."""

from collections.abc import Callable
from typing import Any

from lightning import Callback, Trainer

from leffa.data.batch import Batch
from leffa.training.module import PersonGenerationModule


class ProgressReport(Callback):
    """After each optimiser step calls `tell(steps done, steps in all, mean loss since the start of
    the run)`, the mean with more weight on the recent steps.

    Args:
        tell: must be quick; the training waits for it.
        memory: weight of the past in the running mean, 0 to 1.
    """

    def __init__(self, tell: Callable[[int, int, float], None], memory: float = 0.95) -> None:
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
        self.total = self.memory * self.total + outputs["result"].loss.item()
        self.weight = self.memory * self.weight + 1.0
        steps = sum(stage.steps for stage in pl_module.curriculum.stages)
        self.tell(trainer.global_step, steps, self.total / self.weight)
