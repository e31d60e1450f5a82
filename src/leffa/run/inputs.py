"""The inputs of a training: those that its starting weights read, or those the data has."""

import logging
import pkgutil
from collections.abc import Sequence
from typing import Any

from leffa.data.batch import Record
from leffa.inference.inputs import NO_FILES, densepose_fields, describe_change
from leffa.models.export import InputSpec
from leffa.models.interface import Input

log = logging.getLogger(__name__)

KEY = "data.transform.densepose"


def feed_training(
    config: dict[str, Any], records: Sequence[Record], before: InputSpec | None
) -> None:
    """Set in the configuration of the data how the model's body map is read.

    A training keeps the encoding of the weights that it begins with, unless
    `data.transform.densepose_files` is given.

    Args:
        records: of training and validation.
        before: what these weights read, where somebody says.

    Raises:
        ValueError: the model reads DensePose, and the data has none that fits.
    """
    if "densepose" not in declared_inputs(config["model"]):
        return
    transform = config["data"]["transform"]
    files = transform.get("densepose", "colour")
    if config["without_densepose"]:
        kept = None if files in NO_FILES else files
        transform.update(densepose="none", densepose_files=kept)
        return
    if transform.get("densepose_files") is not None:
        return
    if before is None and files == "none":
        raise ValueError(
            f"the model reads DensePose, and {KEY}=none: give its files and say how they are "
            f"encoded, {KEY}=colour|iuv|labels|..., or do without it, at a cost in quality: "
            "without_densepose=true"
        )
    changes = densepose_fields(files, files if before is None else before.densepose, records, KEY)
    if changes:
        remedy = f"{KEY}=ENCODING says otherwise"
        if files not in NO_FILES:
            remedy = f"+{KEY}_files={files} trains on them as they are"
        log.info("%s; %s", describe_change(changes), remedy)
    if before is not None and before.part_range != transform.get("part_range", 24):
        changes["part_range"] = before.part_range
        log.info("part ids are divided by %s, as the model was trained", before.part_range)
    transform.update(changes)


def declared_inputs(model: dict[str, Any]) -> frozenset[Input]:
    """The inputs that a configured model reads; see `PersonGenerator.inputs`."""
    if "parts" in model:  # Leffa's
        return frozenset(model["parts"])
    declared: Any = getattr(pkgutil.resolve_name(model["_target_"]), "inputs", frozenset())
    return declared if isinstance(declared, frozenset) else frozenset()
