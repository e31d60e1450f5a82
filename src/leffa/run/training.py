"""From a configuration to a training: compose -> assemble -> fit."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from omegaconf import DictConfig

from leffa.data.datamodule import PersonDataModule
from leffa.inference.foreign import FILLING
from leffa.inference.loaded import inputs_of_config
from leffa.io.outputs import check_unclaimed
from leffa.metrics.report import column
from leffa.models.export import BASELINES
from leffa.models.interface import PersonGenerator
from leffa.models.latent import log_parameters
from leffa.run.config import (
    build,
    changes,
    folder_has_time,
    in_sweep,
    job_overrides,
    kept_by_experiment,
    resolved,
)
from leffa.run.evaluation import prepare_data
from leffa.run.inputs import feed_training
from leffa.run.processes import process_group
from leffa.run.resuming import check_resumed
from leffa.run.trainer import build_trainer
from leffa.training.callbacks.preemption import exit_on_sigterm
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.checkpoints import ResumePoint, resume_point
from leffa.training.compile import compile_model
from leffa.training.curves import CSV_LOG, read_curves
from leffa.training.finetune import Start, find_start, load_start
from leffa.training.layers import check_layers, check_supervision
from leffa.training.loggers import begin_logs
from leffa.training.module import PersonGenerationModule
from leffa.training.run_metadata import ENVIRONMENT, WRITTEN, write_run_metadata
from leffa.training.stages import Curriculum, MicroBatch, Stage, largest_at, rehearsal

log = logging.getLogger(__name__)


@dataclass
class Run:
    """The assembled parts of a training run."""

    config: dict[str, Any]
    datamodule: PersonDataModule
    module: PersonGenerationModule
    trainer: Trainer


def train(cfg: DictConfig) -> float | None:
    """Run an experiment; returns the metric that a sweep minimises, if it was measured."""
    config = resolved(cfg)
    folder, overrides = Path(config["paths"]["output_dir"]), job_overrides()
    if config["resume"] == "auto" and folder_has_time(cfg):
        raise ValueError(
            "resume=auto needs the folder of the run: add paths.output_dir=DIR, since the usual "
            "one has the time in its name"
        )
    _check_objective(config)
    for line in kept_by_experiment(cfg):
        log.warning(line)
    resumed = resume_point(config["resume"], folder / "checkpoints")
    checkpoint, step = None, 0
    if resumed is not None:
        checkpoint, step = resumed.path, resumed.step
        complete = step >= _curriculum(config).steps
        check_resumed(resumed, config, complete, in_sweep())
        if config["start_from"] is not None:
            log.warning("start_from is not read: the run resumes from %s", checkpoint)
    check_unclaimed(folder, WRITTEN, ENVIRONMENT)
    run = assemble(cfg, resumed)
    if run.trainer.is_global_zero:
        write_run_metadata(folder, run.config, changes(cfg), step)
        begin_logs(run.trainer.loggers, step, run.config)
    shared = not folder_has_time(cfg)
    with process_group(run.trainer, overrides, folder, shared=shared), exit_on_sigterm():
        run.trainer.fit(run.module, run.datamodule, ckpt_path=checkpoint, weights_only=True)
    measured = run.trainer.callback_metrics
    for key in sorted(measured):
        if key.startswith("val/") and "layers" not in key:
            log.info("%s: %.4f", key, measured[key])
    log.info("written to %s", folder)
    if cfg.objective_metric in measured:
        return measured[cfg.objective_metric].item()
    # A run that was complete before measures nothing.
    points = read_curves(folder / CSV_LOG).get(cfg.objective_metric)
    return points[-1][1] if points else None


def _check_objective(config: dict[str, Any]) -> None:
    """Refuse a best checkpoint that would be the worst."""
    metric, checkpoint = config["objective_metric"], config["callbacks"].get("checkpoint")
    higher = column(str(metric).removeprefix("val/")).higher
    if higher and checkpoint is not None and checkpoint["mode"] == "min":
        raise ValueError(
            f"objective_metric={metric}: more is better, and best.ckpt would be the worst; add "
            "callbacks.checkpoint.mode=max (sweeps: leffa sweep-report --max)"
        )


def assemble(cfg: DictConfig, resumed: ResumePoint | None = None) -> Run:
    """Seed, then build data, model and trainer; what can fail fails here, cheapest first.

    Args:
        resumed: where the run resumes, so that the weights of `start_from` are not loaded.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
    config = resolved(cfg)
    start = None
    if config["start_from"] is not None and resumed is None:
        start = find_start(config["start_from"])
    curriculum = _curriculum(config)
    trainer = build_trainer(config, epochs=len(curriculum.stages))
    leffa_loss = build({**config["leffa_loss"], **config["attention_loss"]})
    hardware = config["hardware"]
    splits = [
        MicroBatch.split(
            trainer.world_size if config["rehearse"] else stage.batch_size,
            trainer.world_size,
            largest_at(hardware["micro_batch"], stage.height, stage.width),
        )
        for stage in curriculum.stages
    ]
    # Added here, since only the trainer knows how many devices there are.
    schedule = StageSchedule(
        [split.accumulate for split in splits], config["trainer"]["val_check_interval"]
    )
    trainer.callbacks.append(schedule)  # type: ignore[attr-defined]
    datamodule = _datamodule(config, curriculum, splits, resumed or start)
    datamodule.check_ranks(trainer.world_size)
    module = PersonGenerationModule(
        model=first_model(config["model"], start),
        optimizer=build(config["optimizer"]),
        curriculum=curriculum,
        leffa_loss=leffa_loss,
        objective=build(config["objective"]),
        sampler=build(config["sampler"]),
        inspect_timestep=config["inspect_timestep"],
        seed=config["seed"],
        config=config,
        inputs=asdict(inputs_of_config(config)),
    )
    check_sizes(module.model, curriculum.stages)
    check_layers(leffa_loss, module.model, datamodule.val_records)
    if leffa_loss.active and any(stage.leffa_loss for stage in curriculum.stages):
        check_supervision(leffa_loss, module.model, datamodule)
    compile_model(module.model, hardware["compile"], hardware["channels_last"])
    if config["latent_cache"] is not None:
        datamodule.cache_latents(Path(config["latent_cache"]), module.model)
    return Run(config, datamodule, module, trainer)


def check_sizes(model: PersonGenerator, stages: Sequence[Stage]) -> None:
    """Refuse image sizes that the model does not support.

    Raises:
        ValueError: names the stage.
    """
    for stage in stages:
        picture = torch.empty(1, 3, stage.height, stage.width, device="meta")
        try:
            model.latent_shape({"source": picture})  # type: ignore[typeddict-item]  # all it reads
        except ValueError as error:
            raise ValueError(f"curriculum.stages, {stage.name}: {error}") from None


def _curriculum(config: dict[str, Any]) -> Curriculum:
    part = config["curriculum"]
    stages = [Stage.read(stage) for stage in part["stages"]]
    return Curriculum(
        rehearsal(stages) if config["rehearse"] else stages,
        part["warmup_steps"],
        config["trainer"]["max_steps"],
        part["cooldown_steps"],
        part.get("warmup_start", 0.0),
    )


def first_model(part: dict[str, Any], start: Start | None) -> PersonGenerator:
    """The initial model: built on its base, with the weights of `start_from`."""
    model: PersonGenerator
    if start is None:
        model = build(part)
    else:
        if isinstance(part.get("unet"), dict) and start.place in BASELINES.values():
            raise ValueError(
                f"start_from={start.place.name}: the backbone begins with random weights, which "
                "these would replace; add start_from=null, or take backbone=tiny"
            )
        model = build({key: part[key] for key in part if key not in FILLING})
        load_start(model, start)
    log_parameters(model)
    return model


def _datamodule(
    config: dict[str, Any],
    curriculum: Curriculum,
    splits: list[MicroBatch],
    begun: ResumePoint | Start | None,
) -> PersonDataModule:
    data = config["data"]
    prepare_data(data)
    train, val = build(data["train"]), build(data["val"])
    feed_training(config, [*train, *val], None if begun is None else begun.inputs)
    datamodule = PersonDataModule(
        train=train,
        val=val,
        transform=build(data["transform"]),
        stages=curriculum.stages,
        micro_batches=[(split.size, split.accumulate) for split in splits],
        val_samples=data["val_samples"],
        seed=config["seed"],
        num_workers=config["hardware"]["num_workers"],
        reconstruct=data.get("reconstruct", False),
    )
    datamodule.check()
    return datamodule
