"""From a configuration to a run: the only file of the package that knows Hydra.

    compose -> assemble -> fit            `train`
    compose -> restore  -> generate, score  `evaluate`

Everything below gets plain values, so every class works in a notebook.
"""

import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.progress import Progress

from leffa.data.datamodule import PersonDataModule
from leffa.evaluation import Evaluation, evaluate_model
from leffa.evaluation.generate import choose_devices
from leffa.mistakes import check_overrides, dotted, fail
from leffa.models.interface import PersonGenerator
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
from leffa.training.record import differences, record_start
from leffa.training.saving import AtomicCheckpointIO
from leffa.training.stages import Curriculum, MicroBatch, Stage

log = logging.getLogger(__name__)

CONF = Path(__file__).parents[2] / "conf"
VERSION_BASE = "1.3"


@dataclass
class Run:
    """The assembled parts of a training run."""

    config: dict[str, Any]
    datamodule: PersonDataModule
    module: PersonGenerationModule
    trainer: Trainer


def compose(name: str, overrides: list[str]) -> DictConfig:
    """A configuration as the command line would make it; for tests, notebooks and `leffa demo`."""
    with hydra.initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        return hydra.compose(name, overrides)


def train(cfg: DictConfig) -> float | None:
    """Run an experiment; returns the metric that a sweep minimises, if it was measured.

    Raises:
        ValueError: a setting is wrong, or a loss was not finite.
        OSError: a checkpoint could not be written, or another process of the run ended.
    """
    config = _resolved(cfg)
    folder, overrides = Path(config["paths"]["output_dir"]), _job_overrides()
    checkpoint, step = start_point(config["resume"], folder / "checkpoints")
    run = assemble(cfg)
    if run.trainer.is_global_zero:
        record_start(folder, run.config, _changes(cfg), step)
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
    config = _resolved(cfg)
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
        model=_build(config["model"]),
        optimizer=_build(config["optimizer"]),
        curriculum=curriculum,
        leffa_loss=_build(config["leffa_loss"]),
        objective=_build(config["objective"]),
        sampler=_build(config["sampler"]),
        inspect_timestep=config["inspect_timestep"],
        seed=config["seed"],
        config=config,
    )
    if config["latent_cache"] is not None:
        datamodule.keep_latents(Path(config["latent_cache"]), module.model)
    return Run(config, datamodule, module, trainer)


def evaluate(cfg: DictConfig, progress: bool = True) -> Evaluation:
    """Generate the images of a data set with a checkpoint's model, and score them."""
    config = _resolved(cfg)
    devices = choose_devices(config["device"], config["devices"])
    checkpoint = find_checkpoint(Path(config["ckpt"]))
    trained, module = restore(checkpoint, config["weights"])
    dataset = config["dataset"]
    _prepare(dataset)
    return evaluate_model(
        model=module.model.eval(),
        records=_build(dataset["records"]),
        transform=_build(dataset["transform"]),
        paired=dataset["paired"],
        name=dataset["name"],
        sampler=_build(config["sampler"]),
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
        model=_build(config["model"]),
        optimizer=_build(config["optimizer"]),
        curriculum=Curriculum([Stage(**stage) for stage in config["curriculum"]["stages"]]),
        leffa_loss=_build(config["leffa_loss"]),
        objective=_build(config["objective"]),
        sampler=_build(config["sampler"]),
        config=config,
    )
    load_trained(module, state, checkpoint)
    return config, module


def program(name: str, task: Callable[[DictConfig], Any]) -> None:
    """Run a Hydra program: a user's mistake is one line and exit code 1, HYDRA_FULL_ERROR=1 shows
    the trace."""
    mistakes = (HydraException, OmegaConfBaseException, MisconfigurationException)
    check_overrides(sys.argv[1:], partial(_composed, name), mistakes, CONF)

    @hydra.main(config_path=str(CONF), config_name=name, version_base=VERSION_BASE)
    def main(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except (ValueError, OSError, *mistakes) as error:
            fail(error)

    main()


def _composed(name: str, overrides: list[str]) -> dict[str, Any]:
    container = OmegaConf.to_container(compose(name, overrides))
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _job_overrides() -> list[str] | None:
    """What the command line said for this job; None where Hydra does not run it."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else None


def _changes(cfg: DictConfig) -> dict[str, tuple[Any, Any]]:
    """What the command line changed: key -> (value of the experiment as it stands, value here)."""
    if not HydraConfig.initialized():
        return {}
    hydra_cfg = HydraConfig.get()
    experiment = hydra_cfg.runtime.choices.get("experiment")
    base = hydra.compose(hydra_cfg.job.config_name, [f"experiment={experiment or 'null'}"])
    return differences(*(dotted(OmegaConf.to_container(each)) for each in (base, cfg)))


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain values; the output folder is the job's own where Hydra runs the job (a sweep has
    many)."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        cfg = cfg.copy()
        OmegaConf.update(cfg, "paths.output_dir", HydraConfig.get().runtime.output_dir)
    written = dotted(OmegaConf.to_container(cfg))
    if missing := [key for key, value in written.items() if value == "???"]:
        raise ValueError(f"{missing[0]} must be given: add {missing[0]}=... to the command line")
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _trainer(config: dict[str, Any], epochs: int) -> Trainer:
    """One stage is one epoch; the curriculum has counted `max_steps` already."""
    validates = {} if config["data"]["val_samples"] else {"limit_val_batches": 0}
    strategy = str(config["trainer"]["strategy"]).lower()
    sharded = strategy != "auto" and "ddp" not in strategy  # these have a format of their own
    return _build(
        {**config["trainer"], "max_steps": -1, **validates},
        max_epochs=epochs,
        plugins=None if sharded else [AtomicCheckpointIO()],
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=config["paths"]["output_dir"],
        logger=[_build(part) for part in config["logger"].values()],
        callbacks=[_build(part) for part in config["callbacks"].values()],
    )


def _build(part: dict[str, Any], **extra: Any) -> Any:
    """Instantiate one part; an error inside it is told as itself, not as Hydra's wrapping of it."""
    try:
        return instantiate(part, _convert_="all", **extra)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, TypeError):  # a value of the wrong type, or one missing
            raise ValueError(f"{part['_target_']}: {cause}") from error
        raise (cause if isinstance(cause, ValueError | OSError) else error) from None


def _prepare(data: dict[str, Any]) -> None:
    """Draw a synthetic data set on first use, with a progress bar."""
    if data.get("prepare") is None:
        return
    with alone(Path(data["root"])), Progress(transient=True) as bar:
        task = bar.add_task(f"drawing {data['root']}", total=None)
        _build(
            data["prepare"],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _datamodule(
    config: dict[str, Any], curriculum: Curriculum, splits: list[MicroBatch]
) -> PersonDataModule:
    data = config["data"]
    _prepare(data)
    datamodule = PersonDataModule(
        train=_build(data["train"]),
        val=_build(data["val"]),
        transform=_build(data["transform"]),
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
