"""Saves a run that is asked to stop: preemption on a cluster, or a `kill`."""

import logging
import os
import signal
import subprocess
import threading
from types import FrameType
from typing import Any

import torch
from lightning import Trainer

from leffa.data.batch import Batch
from leffa.training.callbacks.base import BatchCallback
from leffa.training.callbacks.checkpoints import Checkpoints
from leffa.training.module import PersonGenerationModule as Module

log = logging.getLogger(__name__)

REQUEUE = "SIGUSR1"  # Windows does not have it
STOPPING = ("SIGINT", "SIGTERM", REQUEUE, "SIGBREAK")  # the last on Windows alone


class StopOnSignal(BatchCallback):
    """On Ctrl-C, SIGTERM or SIGUSR1, to any process of the run: finish the step, save, and stop.
    Windows has Ctrl-Break for the last two. A second Ctrl-C stops at once.

    The exit code is 128 plus the number of the signal. Lightning's handlers, whose place it takes,
    save in the middle of a step.

    Args:
        every: of several processes, steps after which they ask each other; one alone asks itself
            after each step.
        requeue: whether SIGUSR1 (`#SBATCH --signal=USR1@300`) also requeues a SLURM job.
    """

    def __init__(self, requeue: bool = True, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"callbacks.stop_on_signal.every must be positive, got {every}")
        self.requeue = requeue
        self.every = every
        self.received = 0
        self.before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        if threading.current_thread() is threading.main_thread():
            for number in [signal.Signals[name] for name in STOPPING if hasattr(signal, name)]:
                self.before[number] = signal.signal(number, self._receive)

    def batch_start(self, module: Module, batch: Batch, index: int) -> None:
        trainer = module.trainer
        if index % trainer.accumulate_grad_batches:
            return  # in the middle of a step
        if trainer.world_size > 1 and trainer.global_step % self.every:
            return
        if trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            self._stop(trainer)

    def teardown(self, trainer: Trainer, pl_module: Module, stage: str) -> None:  # type: ignore[override]
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if number == signal.SIGINT:
            signal.signal(number, self.before[signal.SIGINT])

    def _stop(self, trainer: Trainer) -> None:
        received = torch.tensor(self.received, device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(received, reduce_op="max"))  # of any process
        for saver in trainer.checkpoint_callbacks:
            if isinstance(saver, Checkpoints):
                saver.save(trainer)
        if not trainer.is_global_zero:
            raise SystemExit(0)  # another code would make rank 0 kill itself
        name = signal.Signals(number).name
        log.warning(
            "stopped by %s and saved after step %d; resume=auto continues from here",
            name,
            trainer.global_step,
        )
        if self.requeue and name == REQUEUE and (job := os.environ.get("SLURM_JOB_ID")):
            _requeue(job)
        raise SystemExit(128 + number)


def _requeue(job: str) -> None:
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("job %s could not be requeued: %s", job, error)
    else:
        log.warning("job %s was requeued", job)
