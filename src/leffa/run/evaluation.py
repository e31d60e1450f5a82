"""From a configuration to an evaluation: load -> generate, score."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from leffa.data.batch import Record
from leffa.data.doctor.quick import check_records
from leffa.data.leaks import leaked
from leffa.data.transforms import PersonTransform
from leffa.evaluation import Evaluation, EvaluationSettings, evaluate_model
from leffa.inference.checkpoints import Weights
from leffa.inference.devices import choose_devices
from leffa.inference.forward import check_timesteps
from leffa.inference.inputs import feed
from leffa.inference.loaded import LoadedModel, find_weights, load_model
from leffa.io.files import exclusive_lock
from leffa.io.numbers import check_count
from leffa.io.progress import progress_bar
from leffa.losses.request import FlowRequest, as_patterns
from leffa.models.interface import PersonGenerator
from leffa.models.schedulers import check_sampler
from leffa.run.config import build, checked, job_overrides, resolved
from leffa.training.layers import check_patterns
from leffa.training.stages import largest_at

log = logging.getLogger(__name__)

HARDWARE = ("micro_batch", "num_workers", "draw_workers")  # what an evaluation reads of it


def evaluate(cfg: DictConfig, progress: bool = True) -> Evaluation:
    """Generate the images of a dataset with a trained model, and score them."""
    config = resolved(cfg)
    _check_hardware(job_overrides() or [])
    devices = choose_devices(config["device"], config["devices"])
    if config["limit"] is not None:
        check_count("limit", config["limit"])
    place = Path(config["ckpt"])
    file = find_weights(place)
    written = file.stat().st_mtime_ns
    dataset = config["dataset"]
    prepare_data(dataset)
    records = build(dataset["records"])  # quicker to fail than the weights
    transform = build(dataset["transform"])
    records, in_training = _without_leaks(records, config, progress)
    if scored := records[: config["limit"]]:
        check_records(scored, transform)
    loaded = _loaded(place, config["weights"], file, written)
    sampler = build(config["sampler"])
    check_sampler(sampler.scheduler, loaded.model.scheduler_config, sampler.steps)
    if not isinstance(timesteps := config["inspect_timesteps"], list):
        raise ValueError(f"inspect_timesteps={timesteps}: is not a list, such as [200]")
    check_timesteps("inspect_timesteps", timesteps, loaded.model)
    names, without = (str(place), dataset["name"]), config["without_densepose"]
    fed = feed(transform, records, loaded.inputs, loaded.model, names, without)
    batch_size = config["batch_size"]
    if isinstance(batch_size, dict):  # the hardware's, by size
        batch_size = largest_at(batch_size, transform.height, transform.width)
    settings = EvaluationSettings(
        name=dataset["name"],
        paired=dataset["paired"],
        sampler=sampler,
        flow_request=_flow_request(loaded, config["inspect_layers"], config["inspect_temperature"]),
        inspect_timesteps=timesteps,
        protocol=config["protocol"],
        metrics=config["metrics"],
        batch_size=batch_size,
        limit=config["limit"],
        in_training=in_training,
        features=Path(config["features_dir"]) if config["features_dir"] else None,
        real=Path(dataset["real"]) if dataset.get("real") else None,
        depends_on={
            "ckpt": str(loaded.file),
            "ckpt_written": written // 10**9,
            "weights": config["weights"],
            "trained_as": loaded.name,
            "sampler": config["sampler"],
            "records": dataset["records"],
            "transform": dataset["transform"],
            **_as_fed(fed, transform),
            "clean": dataset["clean"],
            "inspect_layers": config["inspect_layers"],
            "inspect_temperature": config["inspect_temperature"],
        },
        devices=devices,
        workers=config["hardware"]["num_workers"],
        precision=config["precision"],
        progress=progress,
    )
    load = partial(_loaded_model, place, config["weights"], file, written)
    output = Path(config["paths"]["output_dir"])
    return evaluate_model(loaded.model, records, fed, output, settings, load)


def test_set(overrides: list[str]) -> tuple[Sequence[Record], PersonTransform, bool]:
    """Records and transform of a dataset of conf/dataset, written on first use, and whether its
    images have a truth. Ends the program where an override is wrong."""
    dataset = resolved(checked("evaluate", [*overrides, "ckpt=none"]))["dataset"]
    prepare_data(dataset)
    return build(dataset["records"]), build(dataset["transform"]), bool(dataset["paired"])


def _check_hardware(overrides: Sequence[str]) -> None:
    """Refuse a key of `hardware` that only trainings read; a preset may have it."""
    for override in overrides:
        group, _, key = override.lstrip("+").partition("=")[0].partition(".")
        if group == "hardware" and key.partition(".")[0] not in HARDWARE:
            raise ValueError(
                f"hardware.{key}: is for trainings; an evaluation reads hardware."
                f"{', hardware.'.join(HARDWARE)}, and its precision is precision=..."
            )


def _flow_request(
    loaded: LoadedModel, layers: str | list[str], temperature: float | None
) -> FlowRequest:
    """How the model's attention is read: `inspect_layers` and `inspect_temperature`."""
    request = loaded.flow_request
    if temperature is not None:
        if temperature <= 0:
            raise ValueError(f"inspect_temperature={temperature}: give a number above 0, or null")
        request = replace(request, temperature=temperature)
    if layers == "training":
        return request
    every = replace(request, min_resolution=0.0, layers=None)
    if layers == "all":
        return every
    patterns = as_patterns(layers, "inspect_layers must be training, all")
    check_patterns("inspect_layers", patterns, loaded.model)
    return replace(every, layers=patterns)


def _loaded_model(
    place: Path, weights: Weights | None, file: Path, written: int
) -> PersonGenerator:
    return _loaded(place, weights, file, written).model


def _loaded(place: Path, weights: Weights | None, file: Path, written: int) -> LoadedModel:
    """The model; refuses a `file` that was rewritten since `written` (nanoseconds), as a run
    that still trains does: one evaluation must not mix two."""
    loaded = load_model(place, weights, file=file)
    if file.stat().st_mtime_ns != written:
        raise ValueError(
            f"{file}: was rewritten while the evaluation read it (does its run still train?); "
            "start again, with ckpt=FILE of a checkpoint that stays"
        )
    return loaded


def _without_leaks(
    records: Sequence[Record], config: dict[str, Any], progress: bool
) -> tuple[Sequence[Record], list[str]]:
    """Where `dataset.clean` asks for it, the samples whose images are not in the training split
    too, and the names of the others."""
    dataset = config["dataset"]
    if not dataset["clean"]:
        return records, []
    if "split" not in dataset["records"]:
        raise ValueError(
            f"dataset.clean=true: {dataset['name']} has no training split to compare with; give "
            "dataset.clean=false"
        )
    given = {k: v for k, v in dataset["records"].items() if k not in ("pairs", "truth")}
    given |= {"split": "train"} | ({"allow_subset": True} if "allow_subset" in given else {})
    try:
        training = build(given)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"dataset.clean=true reads the training split: {error}") from error
    with progress_bar("comparing with the training split", show=progress) as bar:
        found = leaked(records, training, config["hardware"]["num_workers"], bar)
    kept = [record for record in records if record.name not in found]
    first = "".join(f"; first {name}: {why}" for name, why in [*found.items()][:1])
    log.info("dataset.clean=true: %d of %d samples left out%s", len(found), len(records), first)
    if not kept:
        raise ValueError(f"dataset.clean=true: the training split has every sample{first}")
    return kept, sorted(found)


def _as_fed(fed: PersonTransform, transform: PersonTransform) -> dict[str, Any]:
    """How the model's DensePose input differs from the dataset's, for the result."""
    keys = ("densepose", "densepose_files", "part_range")
    before, after = ({key: getattr(each, key) for key in keys} for each in (transform, fed))
    return {"read_as": after} if after != before else {}


def prepare_data(data: dict[str, Any]) -> None:
    """Write a synthetic dataset on first use, with a progress bar."""
    if data.get("prepare") is None:
        return
    root = Path(data["root"])
    with exclusive_lock(Path(f"{root}.lock")), progress_bar(f"generating {root}") as bar:
        build(data["prepare"], progress=bar)
