"""From a configuration to a run: with `config` and `program` the only place that knows
Hydra.

    compose -> assemble -> fit            `train`
    compose -> restore  -> generate, score  `evaluate`

Everything below gets plain values, so every class works in a notebook.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Trainer, seed_everything
from omegaconf import DictConfig
from rich.progress import Progress

from leffa.data.batch import Record
from leffa.data.datamodule import PersonDataModule
from leffa.data.transforms import PersonTransform
from leffa.evaluation import Evaluation, evaluate_model
from leffa.evaluation.generate import choose_devices
from leffa.mistakes import check_overrides
from leffa.models.interface import PersonGenerator
from leffa.run.config import (
    CONF,
    MISTAKES,
    build,
    changes,
    choices,
    compose,
    composed,
    folder_has_time,
    job_overrides,
    resolved,
    settings,
)
from leffa.run.weights import restore, restore_model
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.checkpoints import Weights, read_checkpoint, start_point
from leffa.training.loggers import rewind
from leffa.training.module import PersonGenerationModule
from leffa.training.processes import alone, process_group
from leffa.training.record import record_start
from leffa.training.saving import AtomicCheckpointIO
from leffa.training.speed import speed_up
from leffa.training.stages import Curriculum, MicroBatch, Stage, largest_at

__all__ = [
    "CONF",
    "Run",
    "assemble",
    "choices",
    "compose",
    "evaluate",
    "restore",
    "restore_model",
    "settings",
    "test_set",
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
    if config["resume"] == "auto" and folder_has_time(cfg):
        raise ValueError(
            "resume=auto needs the folder of the run: add paths.output_dir=DIR, since the usual "
            "one has the time in its name"
        )
    checkpoint, step = start_point(config["resume"], folder / "checkpoints")
    if checkpoint is not None:
        _check_resumed(checkpoint, config)
    run = assemble(cfg)
    if run.trainer.is_global_zero:
        record_start(folder, run.config, changes(cfg), step)
        rewind(run.trainer.loggers, step)
    with process_group(run.trainer, overrides, folder, shared=not folder_has_time(cfg)):
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
        config["curriculum"].get("warmup_start", 0.0),
    )
    trainer = _trainer(config, epochs=len(curriculum.stages))
    hardware = config["hardware"]
    splits = [
        MicroBatch.split(
            stage.batch_size,
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
    speed_up(module.model, hardware["compile"], hardware["channels_last"])
    if config["latent_cache"] is not None:
        datamodule.keep_latents(Path(config["latent_cache"]), module.model)
    return Run(config, datamodule, module, trainer)


def evaluate(cfg: DictConfig, progress: bool = True) -> Evaluation:
    """Generate the images of a data set with a trained model, and score them."""
    config = resolved(cfg)
    devices = choose_devices(config["device"], config["devices"])
    restored = restore_model(Path(config["ckpt"]), config["weights"])
    dataset = config["dataset"]
    _prepare(dataset)
    return evaluate_model(
        model=restored.model,
        records=build(dataset["records"]),
        transform=replace(build(dataset["transform"]), pose="pose" in restored.model.inputs),
        paired=dataset["paired"],
        name=dataset["name"],
        sampler=build(config["sampler"]),
        leffa_loss=restored.leffa_loss,
        inspect_timesteps=config["inspect_timesteps"],
        protocol=config["protocol"],
        folder=Path(config["paths"]["output_dir"]),
        batch_size=_batch_size(config["batch_size"], dataset["transform"]),
        limit=config["limit"],
        weights=Path(config["weights_dir"]) if config["weights_dir"] else None,
        real=Path(dataset["real"]) if dataset.get("real") else None,
        fid_resamples=config["fid_resamples"],
        settings={
            "ckpt": str(restored.file),
            "ckpt_written": int(restored.file.stat().st_mtime),
            "weights": config["weights"],
            "trained_as": restored.name,
            "sampler": config["sampler"],
            "records": dataset["records"],
            "transform": dataset["transform"],
        },
        load=partial(_restored_model, Path(config["ckpt"]), config["weights"]),
        devices=devices,
        workers=config["hardware"]["num_workers"],
        precision=config["precision"],
        latent_cache=Path(config["latent_cache"]) if config["latent_cache"] else None,
        progress=progress,
    )


def test_set(overrides: list[str]) -> tuple[Sequence[Record], PersonTransform, bool]:
    """The records and the transform of a data set of conf/dataset, drawn on first use; and whether
    its persons wear the reference.

    Ends the program where an override is wrong.

    Raises:
        ValueError: an override lacks, such as the root of a real data set.
    """
    check_overrides(overrides, partial(composed, "evaluate"), MISTAKES, CONF)
    dataset = resolved(compose("evaluate", [*overrides, "ckpt=none"]))["dataset"]
    _prepare(dataset)
    return build(dataset["records"]), build(dataset["transform"]), bool(dataset["paired"])


def _restored_model(place: Path, weights: Weights | None) -> PersonGenerator:
    """For the other processes of an evaluation."""
    return restore_model(place, weights).model


def _trainer(config: dict[str, Any], epochs: int) -> Trainer:
    """One stage is one epoch; the curriculum has counted `max_steps` already."""
    validates = {} if config["data"]["val_samples"] else {"limit_val_batches": 0}
    _check_strategy(config["trainer"]["strategy"])
    return build(
        {**config["trainer"], "max_steps": -1, "val_check_interval": None, **validates},
        max_epochs=epochs,
        plugins=[AtomicCheckpointIO()],
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=config["paths"]["output_dir"],
        logger=[build(part) for part in config["logger"].values()],
        callbacks=[build(part) for part in config["callbacks"].values()],
    )


def _check_strategy(strategy: str | dict[str, Any]) -> None:
    """Most ways to train in shards save folders of them, not the one file that evaluation,
    `start_from` and the fall-back to an earlier checkpoint read."""
    given = strategy if isinstance(strategy, dict) else {"_target_": strategy}
    name, one_file = str(given["_target_"]), given.get("save_distributed_checkpoint") is False
    foreign = any(word in name.lower() for word in ("fsdp", "deepspeed", "xla"))
    if foreign or (_in_shards(given) and not one_file):
        raise ValueError(
            f"trainer.strategy={name}: its checkpoints are not of this program's format; "
            "give trainer=fsdp where memory is short, trainer=ddp otherwise"
        )


def _check_resumed(checkpoint: Path, config: dict[str, Any]) -> None:
    """Lightning looks for the optimiser's state of a run in shards under other numbers, and
    would find that of other weights."""
    before = read_checkpoint(checkpoint)["config"]["trainer"]["strategy"]
    if _in_shards(config["trainer"]["strategy"]) and not _in_shards(before):
        raise ValueError(
            f"{checkpoint}: was trained without trainer=fsdp and goes on without it; "
            f"start_from={checkpoint} with another paths.output_dir takes its weights alone"
        )


def _in_shards(strategy: str | dict[str, Any]) -> bool:
    return "modelparallel" in str(strategy).lower()


def _batch_size(given: Any, transform: dict[str, Any]) -> Any:
    """The hardware's may differ between sizes; what else is given is checked where it is used."""
    if not isinstance(given, dict):
        return given
    return largest_at(given, transform["height"], transform["width"])


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
        reconstruct=data.get("reconstruct", False),
    )
    datamodule.check()
    return datamodule


# Lightning suggests worker counts; on small data the answer is deliberate.
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
# The frozen autoencoder is, and stays so.
warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode")
# Lightning 2.6 on PyTorch 2.14, of its own code.
warnings.filterwarnings("ignore", message=".isinstance.treespec, LeafSpec.. is deprecated")
# It does not see that the data module deals on from where a run stopped.
warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")


def _no_advertisement(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("💡 Tip: For seamless cloud")


# Lightning recommends products of its maker in every log.
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)
