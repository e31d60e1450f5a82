"""Training runs in processes of their own, which tests can kill.

The processes are forked from a server that has imported the package once, so that a run starts in
no time. `train.py` itself, with the launcher of its processes, is under test in `test_program.py`.
"""

import json
import multiprocessing
import os
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from leffa.training.sharding import full_tensor

_WAYS = multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if "forkserver" in _WAYS else "spawn")
CONTEXT.set_forkserver_preload(["leffa.run", "runs"])  # spawn takes no notice
SIGKILL = 9  # by no name on Windows, where tests that kill are skipped
LIMIT = 600.0  # seconds

STAGES = (
    "[{name: first, steps: 3, height: 16, width: 16, batch_size: 4, learning_rate: 1.0e-2},"
    " {name: second, steps: 4, height: 32, width: 24, batch_size: 4, learning_rate: 1.0e-3,"
    " leffa_loss: true}]"
)


def overrides(data: Path, folder: Path, *changes: str) -> list[str]:
    """A run of seven steps in two stages on synthetic data, saved after steps 2, 3, 4, 6, 7."""
    return [
        "experiment=tryon_synthetic",
        "debug=tiny",
        "callbacks=ema",
        f"data.root={data}",
        "data.prepare=null",
        f"paths.output_dir={folder}",
        f"curriculum.stages={STAGES}",
        "curriculum.warmup_steps=2",
        "backbone=tiny_from_scratch",
        "start_from=null",
        "leffa_loss.layers=all",
        "leffa_loss.weight=0.3",
        "backbone.unet.block_out_channels=[8,16]",
        "backbone.unet.down_block_types=[CrossAttnDownBlock2D,CrossAttnDownBlock2D]",
        "backbone.unet.up_block_types=[CrossAttnUpBlock2D,CrossAttnUpBlock2D]",
        "backbone.unet.norm_num_groups=4",
        "backbone.unet.attention_head_dim=2",
        "backbone.unet.cross_attention_dim=8",
        "hardware.micro_batch=2",
        "sampler.steps=1",
        "trainer.accelerator=cpu",
        "trainer.val_check_interval=2",
        "callbacks.checkpoint.every_n_train_steps=2",
        "callbacks.checkpoint.monitor=val/diffusion_t500",
        "+trainer.enable_progress_bar=false",
        "+trainer.enable_model_summary=false",
        "~callbacks.progress",
        "callbacks.report=null",
        "callbacks.images=null",
        *changes,
    ]


class KillAt(Callback):
    """SIGKILL, from within, in the middle of a step: after its backward, before its update.

    With the number 0 an error instead, for a run in the process of the test."""

    def __init__(self, step: int, rank: int = 0, number: int = SIGKILL) -> None:
        self.step, self.rank, self.number = step, rank, number

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            if not self.number:
                raise RuntimeError("the test ends this run")
            os.kill(os.getpid(), self.number)


def kill_at(step: int, rank: int = 0, number: int = SIGKILL) -> list[str]:
    """Overrides that add a `KillAt`."""
    values = f"{{_target_: runs.KillAt, step: {step}, rank: {rank}, number: {int(number)}}}"
    return [f"+callbacks.kill={values}"]


def train(
    arguments: Sequence[str],
    log: Path,
    ranks: int = 1,
    file_limit: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[int]:
    """Run to the end; returns the exit code of each rank, negative for a signal."""
    port = free_port()
    processes: list[BaseProcess] = []
    for rank in range(ranks):
        given = [*arguments, f"trainer.devices={ranks}"]
        variables = dict(environment or {})
        if ranks > 1:  # as torchrun starts it
            variables |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        task = (given, log.with_name(f"{log.name}.{rank}.log"), variables, file_limit)
        processes.append(CONTEXT.Process(target=_train, args=task))
        processes[-1].start()
    for process in processes:
        process.join(LIMIT)
    for process in processes:
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"a run did not end within {LIMIT:.0f} s: {log}")
    return [process.exitcode or 0 for process in processes]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _train(
    arguments: list[str], log: Path, variables: dict[str, str], file_limit: int | None
) -> None:
    """The life of a rank."""
    with log.open("a") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    import logging

    from leffa.cli_errors import fail
    from leffa.run import compose
    from leffa.run import train as train_run

    logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if file_limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    os.environ |= variables
    try:
        train_run(compose("train", arguments))
    except (ValueError, OSError) as error:
        fail(error)


class KeepGradients(Callback):
    """Leaves the losses and gradients of the first steps, one for each threshold, in a folder:
    `losses.<rank>.json` and `gradients.<rank>.pt`.

    Args:
        max_timesteps: theta_timestep of each of these steps.
    """

    def __init__(self, folder: str, max_timesteps: Sequence[int]) -> None:
        self.folder, self.max_timesteps = Path(folder), max_timesteps
        self.losses: list[float] = []
        self.gradients: dict[str, torch.Tensor] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.step = trainer.global_step  # it has risen when the last micro-batch ends
        if self.step < len(self.max_timesteps):
            pl_module.leffa_loss.max_timestep = self.max_timesteps[self.step]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.step < len(self.max_timesteps):
            self.losses.append(outputs["result"].loss.item())
            path = self.folder / f"losses.{trainer.global_rank}.json"
            path.write_text(json.dumps(self.losses))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        if self.step < len(self.max_timesteps):
            self.gradients |= {
                f"{self.step}.{name}": full_tensor(value.grad).clone()
                for name, value in pl_module.named_parameters()
                if value.grad is not None
            }
            torch.save(self.gradients, self.folder / f"gradients.{trainer.global_rank}.pt")


def keep_gradients(folder: Path, *max_timesteps: int) -> str:
    """An override that adds a `KeepGradients`."""
    values = f"folder: {folder}, max_timesteps: {list(max_timesteps)}"
    return f"+callbacks.keep={{_target_: runs.KeepGradients, {values}}}"


def fill_cache(data: Path, folder: Path, out: Path, start: Any, shard: int) -> None:
    """The life of one of several processes that need the same latents: wait for the others, make
    the cache, and write down what it holds."""
    from leffa.data import latent_cache
    from leffa.data.published import VitonHD
    from leffa.data.transforms import PersonTransform
    from leffa.models.leffa import LeffaModel
    from leffa.run import settings

    torch.set_num_threads(1)
    latent_cache.SHARD = shard
    backbone = settings("train", ["backbone=tiny_from_scratch"], "backbone")["backbone"]
    model = LeffaModel(*(backbone[part] for part in ("unet", "vae", "scheduler")))
    transform = PersonTransform(height=32, width=24, densepose="iuv")
    start.wait(LIMIT)
    cache = latent_cache.LatentCache(folder, VitonHD(data, densepose="iuv"), transform, model, 2)
    torch.save({name: dict(latents) for name, latents in cache.items()}, out)
