"""Tells Lightning about stages: micro-batches per step, and where to resume."""

from collections.abc import Sequence
from typing import Any

import torch

from leffa.data.batch import Batch
from leffa.io.numbers import check_count
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module


class StageSchedule(BatchCallback):
    """Sets the gradient accumulation of each stage, and finds the place of a resumed run.

    Both count optimiser steps: Lightning counts epochs and micro-batches, which mean something else
    with another number of devices, another micro-batch or a larger `max_steps`.

    Args:
        accumulate: micro-batches per optimiser step, stage by stage.
        validate_every: optimiser steps of a stage between two validations; each stage ends with one
            as well, and None is for those alone.
    """

    def __init__(self, accumulate: Sequence[int], validate_every: int | None = None) -> None:
        if validate_every is not None:
            check_count("trainer.val_check_interval", validate_every)
        self.accumulate = accumulate
        self.validate_every = validate_every
        self.resumed = False

    def batch_start(self, module: Module, batch: Batch, index: int) -> None:
        # Not at the start of the epoch: a run that resumes within a stage has none.
        accumulate = self.accumulate[module.trainer.current_epoch]
        module.trainer.accumulate_grad_batches = accumulate
        # A number that divides the count of micro-batches when a validation is due.
        batches = int(module.trainer.num_training_batches)
        only_at_end = index + 1 == batches or self.validate_every is None
        module.trainer.val_check_batch = (
            batches if only_at_end else self.validate_every * accumulate  # type: ignore[operator]
        )
        # Dropout inside a network draws from the global generator, which no checkpoint holds.
        torch.manual_seed(module.sample_seeds(index, len(batch["name"]))[0])
        if self.resumed:
            # The number under which Lightning logs; it counts one too many on some ways to resume.
            module.trainer.fit_loop.epoch_loop._batches_that_stepped = module.trainer.global_step
            self.resumed = False

    def before_load(self, module: Module, checkpoint: dict[str, Any]) -> None:
        """Rewrite Lightning's record: `stage` epochs are done and, unless it is 0, `step` begun."""
        self.resumed = True
        stage, step = module.curriculum.position(checkpoint["global_step"])
        begun = stage + 1 if step else stage
        epochs = {"ready": begun, "started": begun, "processed": stage, "completed": stage}
        fed = step * self.accumulate[stage] if step else 0
        # As Lightning leaves it when it saves at the end of a batch, just before "completed" rises.
        completed = max(fed - 1, 0)
        counts = {"ready": fed, "started": fed, "processed": fed, "completed": completed}
        batches = {"total": counts, "current": counts, "is_last_batch": False}
        checkpoint["loops"]["fit_loop"] |= {
            "epoch_progress": {"total": epochs, "current": epochs},
            "epoch_loop.batch_progress": batches,
        }
