"""From a configuration to a run: with `config` and `program` the only place that knows
Hydra.

    compose -> assemble -> fit            `train`
    compose -> restore  -> generate, score  `evaluate`

Everything below gets plain values, so every class works in a notebook.
"""

import logging
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Trainer, seed_everything
from omegaconf import DictConfig
from rich.progress import Progress

from leffa.data.datamodule import PersonDataModule
from leffa.evaluation import Evaluation, evaluate_model
from leffa.evaluation.generate import choose_devices
from leffa.models.interface import PersonGenerator
from leffa.run.config import (
    CONF,
    build,
    changes,
    choices,
    compose,
    job_overrides,
    resolved,
    settings,
)
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.checkpoints import (
    Weights,
    find_checkpoint,
    load_trained,
    read_checkpoint,
    start_point,
    weights_of,
)
from leffa.training.loggers import rewind
from leffa.training.module import PersonGenerationModule
from leffa.training.processes import alone, process_group
from leffa.training.record import record_start
from leffa.training.saving import AtomicCheckpointIO
from leffa.training.stages import Curriculum, MicroBatch, Stage

__all__ = [
    "CONF",
    "Run",
    "assemble",
    "choices",
    "compose",
    "evaluate",
    "restore",
    "settings",
    "train",
]

log = logging.getLogger(__name__)


@dataclass
class Run:
    """The assembled parts of a training run."""

    config: dict[str, Any]
    datamodule: PersonDataModule
    module: PersonGenerationModule
    trainer: Trainer


def train(cfg: DictConfig) -> float | None:
    """Run an experiment; returns the metric that a sweep minimises, if it was measured.

    Raises:
        ValueError: a setting is wrong, or a loss was not finite.
        OSError: a checkpoint could not be written, or another process of the run ended.
    """
    config = resolved(cfg)
    folder, overrides = Path(config["paths"]["output_dir"]), job_overrides()
    checkpoint, step = start_point(config["resume"], folder / "checkpoints")
    run = assemble(cfg)
    if run.trainer.is_global_zero:
        record_start(folder, run.config, changes(cfg), step)
        rewind(run.trainer.loggers, step)
    with process_group(run.trainer, overrides, folder):
        run.trainer.fit(run.module, run.datamodule, ckpt_path=checkpoint, weights_only=True)
    measured = run.trainer.callback_metrics
    for key in sorted(key for key in measured if key.startswith("val/") and "layers" not in key):
        log.info("%s: %.4f", key, measured[key])
    log.info("written to %s", folder)
    return measured[cfg.objective_metric].item() if cfg.objective_metric in measured else None


def assemble(cfg: DictConfig) -> Run:
    """Seed, then build data, model and trainer; what can fail fails here, cheapest first."""
    seed_everything(cfg.seed, workers=True, verbose=False)
    config = resolved(cfg)
    stages = [Stage(**stage) for stage in config["curriculum"]["stages"]]
    curriculum = Curriculum(
        stages,
        config["curriculum"]["warmup_steps"],
        config["trainer"]["max_steps"],
        config["curriculum"]["cooldown_steps"],
    )
    trainer = _trainer(config, epochs=len(curriculum.stages))
    largest = config["hardware"]["micro_batch"]
    splits = [
        MicroBatch.split(stage.batch_size, trainer.world_size, largest)
        for stage in curriculum.stages
    ]
    # Added here, since only the trainer knows how many devices there are.
    schedule = StageSchedule([split.accumulate for split in splits])
    trainer.callbacks.append(schedule)  # type: ignore[attr-defined]
    datamodule = _datamodule(config, curriculum, splits)
    datamodule.check_ranks(trainer.world_size)
    module = PersonGenerationModule(
        model=build(config["model"]),
        optimizer=build(config["optimizer"]),
        curriculum=curriculum,
        leffa_loss=build(config["leffa_loss"]),
        objective=build(config["objective"]),
        sampler=build(config["sampler"]),
        inspect_timestep=config["inspect_timestep"],
        seed=config["seed"],
        config=config,
    )
    if config["latent_cache"] is not None:
        datamodule.keep_latents(Path(config["latent_cache"]), module.model)
    return Run(config, datamodule, module, trainer)


def evaluate(cfg: DictConfig, progress: bool = True) -> Evaluation:
    """Generate the images of a data set with a checkpoint's model, and score them."""
    config = resolved(cfg)
    devices = choose_devices(config["device"], config["devices"])
    checkpoint = find_checkpoint(Path(config["ckpt"]))
    trained, module = restore(checkpoint, config["weights"])
    dataset = config["dataset"]
    _prepare(dataset)
    return evaluate_model(
        model=module.model.eval(),
        records=build(dataset["records"]),
        transform=build(dataset["transform"]),
        paired=dataset["paired"],
        name=dataset["name"],
        sampler=build(config["sampler"]),
        leffa_loss=module.leffa_loss,
        inspect_timesteps=config["inspect_timesteps"],
        protocol=config["protocol"],
        folder=Path(config["paths"]["output_dir"]),
        batch_size=config["batch_size"],
        limit=config["limit"],
        weights=Path(config["weights_dir"]) if config["weights_dir"] else None,
        real=Path(dataset["real"]) if dataset.get("real") else None,
        settings={
            "ckpt": str(checkpoint),
            "ckpt_written": int(checkpoint.stat().st_mtime),
            "weights": config["weights"],
            "trained_as": trained["name"],
            "sampler": config["sampler"],
        },
        load=partial(_restored_model, checkpoint, config["weights"]),
        devices=devices,
        workers=config["hardware"]["num_workers"],
        precision=config["precision"],
        latent_cache=Path(config["latent_cache"]) if config["latent_cache"] else None,
        progress=progress,
    )


def _restored_model(checkpoint: Path, weights: Weights | None) -> PersonGenerator:
    """For the other processes of an evaluation."""
    return restore(checkpoint, weights)[1].model


def restore(
    checkpoint: Path, weights: Weights | None = None
) -> tuple[dict[str, Any], PersonGenerationModule]:
    """The configuration and the module of a checkpoint of ours, rebuilt from the checkpoint alone.

    Args:
        checkpoint: a .ckpt file, or the folder of a run (its last checkpoint).
        weights: "raw", as trained, or "ema", their running average; None for the average where
            there is one.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the file is no checkpoint of ours, its weights are of another model, or it has
            no average.
    """
    content = read_checkpoint(find_checkpoint(checkpoint))
    state = weights_of(content, weights, checkpoint)
    config = content["config"]
    config["model"].pop("start_from", None)  # its weights are in the checkpoint
    module = PersonGenerationModule(
        model=build(config["model"]),
        optimizer=build(config["optimizer"]),
        curriculum=Curriculum([Stage(**stage) for stage in config["curriculum"]["stages"]]),
        leffa_loss=build(config["leffa_loss"]),
        objective=build(config["objective"]),
        sampler=build(config["sampler"]),
        config=config,
    )
    load_trained(module, state, checkpoint)
    return config, module


def _trainer(config: dict[str, Any], epochs: int) -> Trainer:
    """One stage is one epoch; the curriculum has counted `max_steps` already."""
    validates = {} if config["data"]["val_samples"] else {"limit_val_batches": 0}
    strategy = str(config["trainer"]["strategy"]).lower()
    sharded = strategy != "auto" and "ddp" not in strategy  # these have a format of their own
    return build(
        {**config["trainer"], "max_steps": -1, **validates},
        max_epochs=epochs,
        plugins=None if sharded else [AtomicCheckpointIO()],
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=config["paths"]["output_dir"],
        logger=[build(part) for part in config["logger"].values()],
        callbacks=[build(part) for part in config["callbacks"].values()],
    )


def _prepare(data: dict[str, Any]) -> None:
    """Draw a synthetic data set on first use, with a progress bar."""
    if data.get("prepare") is None:
        return
    with alone(Path(data["root"])), Progress(transient=True) as bar:
        task = bar.add_task(f"drawing {data['root']}", total=None)
        build(
            data["prepare"],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _datamodule(
    config: dict[str, Any], curriculum: Curriculum, splits: list[MicroBatch]
) -> PersonDataModule:
    data = config["data"]
    _prepare(data)
    datamodule = PersonDataModule(
        train=build(data["train"]),
        val=build(data["val"]),
        transform=build(data["transform"]),
        stages=curriculum.stages,
        micro_batches=[(split.size, split.accumulate) for split in splits],
        val_samples=data["val_samples"],
        seed=config["seed"],
        num_workers=config["hardware"]["num_workers"],
    )
    datamodule.check()
    return datamodule


# Lightning suggests worker counts; on small data the answer is deliberate.
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
# It does not see that the data module deals on from where a run stopped.
warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
