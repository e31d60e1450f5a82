"""Saves a run that is asked to stop: preemption on a cluster, or a `kill`."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import torch
from lightning import Trainer

from leffa.data.batch import Batch
from leffa.io.numbers import check_count
from leffa.training.callbacks.base import BatchCallback
from leffa.training.callbacks.checkpoints import Checkpoints
from leffa.training.module import PersonGenerationModule as Module

log = logging.getLogger(__name__)

REQUEUE = "SIGUSR1"  # Windows does not have it
STOPPING = ("SIGINT", "SIGTERM", REQUEUE, "SIGBREAK")  # the last on Windows alone


class StopOnSignal(BatchCallback):
    """On Ctrl-C, SIGTERM or SIGUSR1, to any process of the run: finish the step, save, and stop.
    Between stages all is saved, and a run that caches latents stops at once; so does any on a
    second Ctrl-C. Windows has Ctrl-Break for the last two.

    The exit code is 128 plus the number of the signal. Lightning's handlers, whose place it takes,
    save in the middle of a step.

    Args:
        every: of several processes, steps after which they ask each other; one alone asks itself
            after each step.
        requeue: whether SIGUSR1 (`#SBATCH --signal=USR1@300`) also requeues a SLURM job.
    """

    def __init__(self, requeue: bool = True, every: int = 10) -> None:
        check_count("callbacks.stop_on_signal.every", every)
        self.requeue = requeue
        self.every = every
        self.received = 0
        self.between_stages = True
        self.before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        if threading.current_thread() is threading.main_thread():
            for number in [signal.Signals[name] for name in STOPPING if hasattr(signal, name)]:
                self.before[number] = signal.signal(number, self._receive)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self.between_stages = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        _save(trainer)
        self.between_stages = True

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
        if self.between_stages:
            self._end("stopped by %s before the next stage", number)
        if number == signal.SIGINT:
            signal.signal(number, self.before[signal.SIGINT])

    def _stop(self, trainer: Trainer) -> None:
        received = torch.tensor(self.received, device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(received, reduce_op="max"))  # of any process
        _save(trainer)
        if not trainer.is_global_zero:
            raise SystemExit(0)  # another code would make rank 0 kill itself
        self._end(f"stopped by %s and saved after step {trainer.global_step}", number)

    def _end(self, told: str, number: int) -> NoReturn:
        name = signal.Signals(number).name
        log.warning(f"{told}; resume=auto continues from here", name)
        if self.requeue and name == REQUEUE and (job := os.environ.get("SLURM_JOB_ID")):
            _requeue(job)
        raise SystemExit(128 + number)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Before the first step, SIGTERM ends the process; Lightning would note it and go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _save(trainer: Trainer) -> None:
    for saver in trainer.checkpoint_callbacks:
        if isinstance(saver, Checkpoints):
            saver.save(trainer)


def _requeue(job: str) -> None:
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("job %s could not be requeued: %s", job, error)
    else:
        log.warning("job %s was requeued", job)
