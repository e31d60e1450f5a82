"""From a configuration to a run: with `config` and `program` the only place that knows
Hydra.

    compose -> assemble -> fit            `train`
    compose -> load -> generate, score      `evaluate`

Everything below gets plain values, so every class works in a notebook.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Trainer, seed_everything
from omegaconf import DictConfig

from leffa.cli_errors import check_overrides
from leffa.data.batch import Record
from leffa.data.datamodule import PersonDataModule
from leffa.data.doctor.quick import check_records
from leffa.data.transforms import PersonTransform
from leffa.evaluation import Evaluation, EvaluationSettings, evaluate_model
from leffa.inference.checkpoints import Weights
from leffa.inference.devices import choose_devices
from leffa.inference.foreign import FILLING
from leffa.inference.inputs import feed
from leffa.inference.loaded import LoadedModel, find_weights, inputs_of_config, load_model
from leffa.io.outputs import check_unclaimed
from leffa.io.progress import progress_bar
from leffa.models.interface import PersonGenerator
from leffa.run.config import (
    CONF,
    CONFIG_ERRORS,
    build,
    changes,
    choices,
    compose,
    composed,
    folder_has_time,
    job_overrides,
    kept_by_experiment,
    resolved,
    settings,
)
from leffa.run.inputs import feed_training
from leffa.run.trainer import build_trainer, check_resumed
from leffa.training.callbacks.leffa_loss import check_participation, check_switch
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.checkpoints import start_point
from leffa.training.compile import compile_model
from leffa.training.curves import CSV_LOG, read_curves
from leffa.training.finetune import find_start, load_start
from leffa.training.loggers import describe, rewind
from leffa.training.module import PersonGenerationModule
from leffa.training.processes import exclusive_lock, process_group
from leffa.training.run_metadata import ENVIRONMENT, WRITTEN, write_run_metadata
from leffa.training.stages import Curriculum, MicroBatch, Stage, largest_at, rehearsal

__all__ = [
    "CONF",
    "Run",
    "assemble",
    "choices",
    "compose",
    "evaluate",
    "first_model",
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
    for line in kept_by_experiment(cfg):
        log.warning(line)
    checkpoint, step = start_point(config["resume"], folder / "checkpoints")
    if checkpoint is not None:
        check_resumed(checkpoint, config)
        if config["start_from"] is not None:
            log.warning("start_from is not read: the run goes on from %s", checkpoint)
    check_unclaimed(folder, WRITTEN, ENVIRONMENT)
    run = assemble(cfg, checkpoint)
    if run.trainer.is_global_zero:
        write_run_metadata(folder, run.config, changes(cfg), step)
        describe(run.trainer.loggers, run.config)
        rewind(run.trainer.loggers, step)
    with process_group(run.trainer, overrides, folder, shared=not folder_has_time(cfg)):
        run.trainer.fit(run.module, run.datamodule, ckpt_path=checkpoint, weights_only=True)
    measured = run.trainer.callback_metrics
    for key in sorted(key for key in measured if key.startswith("val/") and "layers" not in key):
        log.info("%s: %.4f", key, measured[key])
    log.info("written to %s", folder)
    if cfg.objective_metric in measured:
        return measured[cfg.objective_metric].item()
    # A run that had reached its end before measures nothing.
    points = read_curves(folder / CSV_LOG).get(cfg.objective_metric)
    return points[-1][1] if points else None


def assemble(cfg: DictConfig, resumed: Path | None = None) -> Run:
    """Seed, then build data, model and trainer; what can fail fails here, cheapest first.

    Args:
        resumed: the checkpoint that the run goes on from, so the weights of `start_from` are not
            loaded.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
    config = resolved(cfg)
    start = None
    if config["start_from"] is not None and resumed is None:
        start = find_start(config["start_from"])
    stages = [Stage.read(stage) for stage in config["curriculum"]["stages"]]
    if config["rehearse"]:
        stages = rehearsal(stages)
    curriculum = Curriculum(
        stages,
        config["curriculum"]["warmup_steps"],
        config["trainer"]["max_steps"],
        config["curriculum"]["cooldown_steps"],
        config["curriculum"].get("warmup_start", 0.0),
    )
    trainer = build_trainer(config, epochs=len(curriculum.stages))
    leffa_loss = build(config["leffa_loss"])
    check_switch(leffa_loss, curriculum.stages, trainer.callbacks)  # type: ignore[attr-defined]
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
    check_participation(leffa_loss, curriculum.stages, module)
    compile_model(module.model, hardware["compile"], hardware["channels_last"])
    if config["latent_cache"] is not None:
        datamodule.cache_latents(Path(config["latent_cache"]), module.model)
    return Run(config, datamodule, module, trainer)


def first_model(part: dict[str, Any], start: Path | None) -> PersonGenerator:
    """The model that a training begins with: built over its base, and filled with the weights that
    `start_from` names."""
    if start is None:
        return build(part)
    model: PersonGenerator = build({key: part[key] for key in part if key not in FILLING})
    load_start(model, start)
    return model


def evaluate(cfg: DictConfig, progress: bool = True) -> Evaluation:
    """Generate the images of a data set with a trained model, and score them."""
    config = resolved(cfg)
    devices = choose_devices(config["device"], config["devices"])
    place = Path(config["ckpt"])
    file = find_weights(place)
    written = file.stat().st_mtime_ns
    dataset = config["dataset"]
    _prepare(dataset)
    records = build(dataset["records"])  # quicker to fail than the weights
    transform = build(dataset["transform"])
    if scored := records[: config["limit"]]:
        check_records(scored, transform)
    loaded = _loaded(place, config["weights"], file, written)
    names, without = (str(place), dataset["name"]), config["without_densepose"]
    fed = feed(transform, records, loaded.inputs, loaded.model, names, without)
    settings = EvaluationSettings(
        name=dataset["name"],
        paired=dataset["paired"],
        sampler=build(config["sampler"]),
        flow_request=loaded.flow_request,
        inspect_timesteps=config["inspect_timesteps"],
        protocol=config["protocol"],
        batch_size=_batch_size(config["batch_size"], dataset["transform"]),
        limit=config["limit"],
        weights=Path(config["weights_dir"]) if config["weights_dir"] else None,
        real=Path(dataset["real"]) if dataset.get("real") else None,
        fid_resamples=config["fid_resamples"],
        depends_on={
            "ckpt": str(loaded.file),
            "ckpt_written": written // 10**9,
            "weights": config["weights"],
            "trained_as": loaded.name,
            "sampler": config["sampler"],
            "records": dataset["records"],
            "transform": dataset["transform"],
            **_as_fed(fed, transform),
        },
        devices=devices,
        workers=config["hardware"]["num_workers"],
        precision=config["precision"],
        latent_cache=Path(config["latent_cache"]) if config["latent_cache"] else None,
        progress=progress,
    )
    load = partial(_loaded_model, place, config["weights"], file, written)
    output = Path(config["paths"]["output_dir"])
    return evaluate_model(loaded.model, records, fed, output, settings, load)


def test_set(overrides: list[str]) -> tuple[Sequence[Record], PersonTransform, bool]:
    """The records and the transform of a data set of conf/dataset, written on first use; and
    whether its persons wear the reference.

    Ends the program where an override is wrong.

    Raises:
        ValueError: an override lacks, such as the root of a real data set.
    """
    check_overrides(overrides, partial(composed, "evaluate"), CONFIG_ERRORS, CONF)
    dataset = resolved(compose("evaluate", [*overrides, "ckpt=none"]))["dataset"]
    _prepare(dataset)
    return build(dataset["records"]), build(dataset["transform"]), bool(dataset["paired"])


def _loaded_model(
    place: Path, weights: Weights | None, file: Path, written: int
) -> PersonGenerator:
    """For the other processes of an evaluation."""
    return _loaded(place, weights, file, written).model


def _loaded(place: Path, weights: Weights | None, file: Path, written: int) -> LoadedModel:
    """The model, if its file is as old as it is known to be: a run that still trains writes a new
    one, and one evaluation must not mix two.

    Args:
        file: of `find_weights`.
        written: when, in nanoseconds.

    Raises:
        ValueError: it is not.
    """
    loaded = load_model(place, weights, file=file)
    if file.stat().st_mtime_ns != written:
        raise ValueError(
            f"{file}: was written anew while the evaluation read it (does its run still train?); "
            "start again, with ckpt=FILE of a checkpoint that stays"
        )
    return loaded


def _as_fed(fed: PersonTransform, transform: PersonTransform) -> dict[str, Any]:
    """How the model's body map differs from the data set's, for the result."""
    keys = ("densepose", "densepose_files", "part_range")
    before, after = ({key: getattr(each, key) for key in keys} for each in (transform, fed))
    return {"read_as": after} if after != before else {}


def _batch_size(given: Any, transform: dict[str, Any]) -> Any:
    """The hardware's may differ between sizes; what else is given is checked where it is used."""
    if not isinstance(given, dict):
        return given
    return largest_at(given, transform["height"], transform["width"])


def _prepare(data: dict[str, Any]) -> None:
    """Write a synthetic data set on first use, with a progress bar."""
    if data.get("prepare") is None:
        return
    root = Path(data["root"])
    with exclusive_lock(root), progress_bar(f"drawing {root}") as bar:
        build(data["prepare"], progress=bar)


def _datamodule(
    config: dict[str, Any],
    curriculum: Curriculum,
    splits: list[MicroBatch],
    begun: Path | None,
) -> PersonDataModule:
    data = config["data"]
    _prepare(data)
    train, val = build(data["train"]), build(data["val"])
    feed_training(config, [*train, *val], begun)
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
