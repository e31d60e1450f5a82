"""What Lightning must know of stages: how many micro-batches make a step, and where to resume."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import Callback, Trainer

from leffa.data.batch import Batch
from leffa.training.module import PersonGenerationModule


class StageSchedule(Callback):
    """Sets the gradient accumulation of each stage, and finds the place of a resumed run.

    The place follows from the number of optimiser steps alone. Lightning's own record counts epochs
    and micro-batches, which mean something else once the run is resumed with another number of
    devices, another micro-batch or a larger `max_steps`.

    Args:
        accumulate: micro-batches per optimiser step, stage by stage.
    """

    def __init__(self, accumulate: Sequence[int]) -> None:
        self.accumulate = accumulate
        self.resumed = False

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
        batch: Batch,
        batch_idx: int,
    ) -> None:
        # Not at the start of the epoch: a run that resumes within a stage has none.
        trainer.accumulate_grad_batches = self.accumulate[trainer.current_epoch]
        # Dropout in a model draws from the global generator, which no checkpoint holds.
        torch.manual_seed(pl_module.micro_batch_seed(batch_idx))
        if self.resumed:
            # The number under which Lightning logs; it counts one too many on some ways to resume.
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
            self.resumed = False

    def on_load_checkpoint(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
        checkpoint: dict[str, Any],
    ) -> None:
        """Rewrite Lightning's record: `stage` epochs are done and, unless it is 0, `step` begun."""
        self.resumed = True
        stage, step = pl_module.curriculum.position(checkpoint["global_step"])
        begun = stage + 1 if step else stage
        epochs = {"ready": begun, "started": begun, "processed": stage, "completed": stage}
        dealt = step * self.accumulate[stage] if step else 0
        # As Lightning leaves it when it saves at the end of a batch, just before "completed" rises.
        completed = max(dealt - 1, 0)
        batches = {"ready": dealt, "started": dealt, "processed": dealt, "completed": completed}
        checkpoint["loops"]["fit_loop"] |= {
            "epoch_progress": {"total": epochs, "current": epochs},
            "epoch_loop.batch_progress": {
                "total": batches,
                "current": batches,
                "is_last_batch": False,
            },
        }
