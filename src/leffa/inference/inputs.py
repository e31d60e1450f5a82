"""Give a model the inputs it was trained on, whatever the encoding of the files.

A map stored in another encoding is converted if that is lossless, otherwise refused.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leffa.data.batch import Record
from leffa.data.densepose import ENCODINGS, can_convert
from leffa.data.transforms import PersonTransform
from leffa.models.export import InputSpec
from leffa.models.interface import PersonGenerator

log = logging.getLogger(__name__)

NO_FILES = ("none", "skeleton")
_TASKS = {"tryon": "virtual try-on", "pose": "pose transfer"}


def feed(
    transform: PersonTransform,
    records: Sequence[Record],
    inputs: InputSpec,
    model: PersonGenerator,
    names: tuple[str, str],
    without_densepose: bool = False,
) -> PersonTransform:
    """The transform of a dataset, changed so that the model reads what it was trained to read.

    Size, fit and masks stay those of the dataset, which defines what is measured; the log says
    where they are not those of the training.

    Args:
        names: of weights and dataset, for messages.

    Raises:
        ValueError: the task is another one, or the dataset lacks what the model reads.
    """
    weights, dataset = names
    if transform.task != inputs.task:
        raise ValueError(
            f"{weights}: was trained for {_TASKS[inputs.task]}, and {dataset} is for "
            f"{_TASKS[transform.task]}; give other weights, or another dataset"
        )
    transform = replace(transform, pose="pose" in model.inputs)
    if "densepose" in model.inputs:
        wanted = "none" if without_densepose else inputs.densepose
        try:
            files = transform.densepose_files or transform.densepose
            changes = densepose_fields(files, wanted, records)
            changes["part_range"] = inputs.part_range
        except ValueError as error:
            raise ValueError(f"{weights}: {error} (dataset {dataset})") from error
        if "densepose" in changes:
            log.info("%s: %s", dataset, describe_change(changes))
        transform = replace(transform, **changes)
    _warn_of_differences(transform, inputs, dataset)
    return transform


def densepose_fields(
    files: str, wanted: str, records: Sequence[Record], key: str = "dataset.transform.densepose"
) -> dict[str, Any]:
    """The fields of a `PersonTransform` that change so that a model reads its body map; maybe none.

    Args:
        files: how the files are encoded; "none" or "skeleton" where the configuration does not say.
        wanted: what the model reads.
        key: of `files`, for messages.

    Raises:
        ValueError: the files do not hold what the model reads.
    """
    kept = None if files in NO_FILES else files
    if wanted == "skeleton" and (lacking := _lacking(records, "keypoints")):
        raise ValueError(
            f"the model reads a skeleton, drawn from keypoints, and {lacking} has none; give the "
            "keypoints, or weights that read something else"
        )
    if wanted in ENCODINGS and (lacking := _lacking(records, "densepose")):
        raise ValueError(
            f"the model reads DensePose ({wanted}), and {lacking} has none; give its files and "
            f"{key}=ENCODING, or do without it, at a cost in quality: without_densepose=true"
        )
    if wanted == files:
        return {}
    # Files of unknown encoding are assumed to have the one that the model reads.
    if not (kept is None or wanted in NO_FILES or can_convert(kept, wanted)):
        raise ValueError(
            f"the model reads DensePose as {wanted}, which {kept} files do not hold; give files "
            f"that do and {key}=ENCODING, or do without it, at a cost in quality: "
            "without_densepose=true"
        )
    return {"densepose": wanted, "densepose_files": kept}


def describe_change(changes: dict[str, Any]) -> str:
    """Describe the changes of `densepose_fields`, for a log."""
    wanted, files = changes["densepose"], changes["densepose_files"]
    if wanted in NO_FILES:
        return f"the model reads no DensePose files (densepose={wanted})"
    if files is None:
        return f"DensePose files are taken to be {wanted}, as the model reads them"
    return f"DensePose files ({files}) are read as {wanted}, as the model was trained"


def _lacking(records: Sequence[Record], field: str) -> Path | None:
    """The first person without such a file."""
    return next((record.source for record in records if getattr(record, field) is None), None)


def _warn_of_differences(transform: PersonTransform, inputs: InputSpec, dataset: str) -> None:
    """Log one line with all settings of the dataset that differ from the training."""
    pairs = {
        "size": (f"{transform.height}x{transform.width}", f"{inputs.height}x{inputs.width}"),
        "fit": (transform.fit, inputs.fit),
        "image_filter": (transform.image_filter, inputs.image_filter),
    }
    recipe = "files" if transform.agnostic is None else getattr(transform.agnostic, "__name__", "")
    if transform.task == "tryon" and recipe:
        pairs["masks"] = recipe, inputs.recipe or "files"
    found = [f"{key} {here} ({there})" for key, (here, there) in pairs.items() if here != there]
    if found:
        log.warning(
            "%s: differs from the training of these weights (in brackets): %s; the dataset's "
            "setting is used, and dataset.transform changes it",
            dataset,
            ", ".join(found),
        )
