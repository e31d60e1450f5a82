"""Several processes that train one model, started by Lightning from a Hydra program.

Lightning starts rank 1, 2, ... by running the command line again. Put right here: in a sweep each
would run the whole sweep, in a folder of another time; the next job of a sweep would wait for
processes of the one before; a process whose rank 0 was killed could wait for it for ever.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning import Trainer

from leffa.cli_errors import quoted

PARENT = "LEFFA_RANK_ZERO"  # in the environment of a started process: the id of the one it serves
LAUNCHED = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", PARENT)
PATIENT, IMPATIENT = 60.0, 3.0  # seconds the others have to end after rank 0 is done, has failed

# For the processes that are started: one job, not the sweep it belongs to; the log is rank 0's.
ONE_JOB = ("hydra.mode=RUN", "hydra/job_logging=stdout")


@contextmanager
def process_group(
    trainer: Trainer, overrides: Sequence[str] | None, folder: Path, shared: bool = True
) -> Iterator[None]:
    """While training: start the others with `overrides` and this output folder, watch, clean up.

    Args:
        overrides: of this job alone, without those of a sweep; None where Hydra does not run it.
        shared: whether every process that is started with the same command has this folder.

    Raises:
        ConnectionError: another process ended; its own message stands above.
        ValueError: the processes, started by another program, do not share an output folder.
    """
    _check_folder(trainer, shared)
    if trainer.global_rank:
        logging.getLogger().setLevel(logging.ERROR)  # rank 0 says it for all
    before = {key: os.environ.get(key) for key in LAUNCHED}
    arguments = sys.argv
    if parent := before[PARENT]:
        _watch(int(parent))
    elif trainer.world_size > 1:
        os.environ[PARENT] = str(os.getpid())
        if overrides is not None:
            output = f"paths.output_dir={quoted(folder.resolve())}"
            sys.argv = [sys.argv[0], *overrides, output, *ONE_JOB]
    patience = IMPATIENT
    try:
        yield
        patience = PATIENT
    except RuntimeError as error:
        if trainer.world_size == 1 or not _lost_connection(error):
            raise
        raise ConnectionError(
            f"process {trainer.global_rank} of {trainer.world_size} lost the connection to another "
            "one, whose message, if any, is above; resume=auto continues from the last checkpoint"
        ) from error
    finally:
        sys.argv = arguments
        if trainer.world_size > 1 and not parent:
            _leave_group(trainer, patience)
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value


def _check_folder(trainer: Trainer, shared: bool) -> None:
    """Refuse a folder named by time, which processes of torchrun or srun would not share."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.world_size == 1 or os.environ.get(PARENT) or shared:
        return
    if environment is not None and environment.creates_processes_externally:
        raise ValueError(
            "paths.output_dir must be given when torchrun or srun starts the processes, so that "
            "they share it: add paths.output_dir=DIR"
        )


def _leave_group(trainer: Trainer, patience: float) -> None:
    """Leave the group and see the others end, so that the next job of a sweep starts afresh."""
    started = getattr(trainer.strategy.launcher, "procs", [])
    processes = list(started)
    started.clear()  # or Lightning's observer kills this process when one of them has failed
    deadline = time.monotonic() + patience
    for process in processes:
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            process.kill()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _watch(parent: int) -> None:
    """End this process soon after its parent, also if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        print(
            f"error: process {os.environ.get('LOCAL_RANK')}: its parent has ended; stopping",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()


def _lost_connection(error: RuntimeError) -> bool:
    text = str(error).lower()
    signs = ("connection closed by peer", "connection reset by peer", "broken pipe", "timed out")
    return isinstance(error, torch.distributed.DistError) or any(sign in text for sign in signs)
