"""`start_from`: the weights that a training starts from, of any kind.

the folder of a run, a .ckpt     written by train.py; the averaged weights if there are any
a folder of `leffa convert`      likewise
tryon_baseline, pose_baseline    shipped with the package, by name
what its authors published       `PersonGenerator.load_published` knows the layout
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from leffa.inference.checkpoints import (
    LAST,
    fill_model,
    find_checkpoint,
    read_checkpoint,
    weights_of,
)
from leffa.inference.loaded import read_inputs
from leffa.io.weights import load_weights
from leffa.models.export import (
    BASELINES,
    OFFICIAL,
    WEIGHTS,
    InputSpec,
    is_exported,
    is_pipeline,
    load_exported,
    or_baseline,
    read_settings,
)
from leffa.models.interface import PersonGenerator
from leffa.models.loading import is_flow_matching
from leffa.models.lora import without_adapters

log = logging.getLogger(__name__)

# The keys of a noise schedule that a network was trained for.
SCHEDULE = ("prediction_type", "beta_schedule", "beta_start", "beta_end", "rescale_betas_zero_snr")


@dataclass(frozen=True)
class Start:
    """The weights that a training starts from."""

    place: Path
    inputs: InputSpec | None  # what they were trained to read, where somebody says
    checkpoint: dict[str, Any] | None = None  # the content of a .ckpt, which is read once


def find_start(given: str | Path) -> Start:
    """What `start_from` names.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a checkpoint cannot be read.
    """
    place = or_baseline(Path(given))
    if not place.exists():
        raise FileNotFoundError(
            f"start_from={given}: no such file or folder; give a run, a .ckpt, a folder of "
            f"`leffa convert`, a released file, {' or '.join(BASELINES)}"
        )
    if is_exported(place):
        return Start(place, read_settings(place).inputs)
    if place.suffix == ".ckpt" or any(place.glob(f"**/{LAST}")):
        file = find_checkpoint(place)
        content = read_checkpoint(file)
        return Start(file, read_inputs(content, file), content)
    official = OFFICIAL.get(place.stem)
    return Start(place, None if official is None else official.inputs)


def load_start(model: PersonGenerator, start: Start) -> None:
    """Fill a model with trained weights. Adapters that it has stay as they begin, unless what the
    model's authors published is adapters.

    Raises:
        FileNotFoundError: the folder does not have what it should.
        ValueError: the weights are of another architecture, have adapters, or are of what this
            model keeps frozen.
    """
    if start.checkpoint is None and not is_exported(start.place):
        model.load_published(start.place)
        return
    with without_adapters(model):
        if start.checkpoint is not None:
            state, schedule = _of_checkpoint(start.checkpoint, start.place)
        else:
            state, schedule = _of_folder(start.place)
        _check_schedule(model, schedule, start.place)
        _fill(model, state, start.place)


def _of_checkpoint(content: dict[str, Any], file: Path) -> tuple[dict[str, Tensor], Any]:
    part = content["config"]["model"]
    if part.get("lora"):
        raise ValueError(
            f"start_from={file}: has low-rank adapters; continue with resume=auto, or merge "
            "them first: leffa convert --weights RUN --out FILE.ckpt"
        )
    schedule = part.get("scheduler")
    if isinstance(schedule, Mapping) and part.get("zero_terminal_snr"):
        schedule = {**schedule, "rescale_betas_zero_snr": True}
    return weights_of(content, None, file), schedule


def _of_folder(folder: Path) -> tuple[dict[str, Tensor], Any]:
    if is_pipeline(folder):
        model, _ = load_exported(folder)
        return model.saved_state(), model.scheduler_config
    config = read_settings(folder).config or {}
    return load_weights(folder / WEIGHTS), config.get("model", {}).get("scheduler")


def _fill(model: PersonGenerator, state: dict[str, Tensor], place: Path) -> None:
    if lost := sorted(model.excluded_keys() & state.keys()):
        raise ValueError(
            f"start_from={place}: was trained as a whole, and {len(lost)} of its weights are "
            f"frozen here, where no checkpoint would keep them, first {lost[0]}; add "
            "model.trainable=all"
        )
    try:
        fill_model(model, state, place)
    except ValueError as error:
        remedy = "; start_from=null begins without it" if place in BASELINES.values() else ""
        raise ValueError(f"start_from={str(error).removeprefix('ckpt=')}{remedy}") from error


def _check_schedule(model: PersonGenerator, trained: Any, place: Path) -> None:
    """Warn where the noise schedule differs from that of the weights."""
    here = model.scheduler_config
    if not isinstance(trained, Mapping):
        return
    if is_flow_matching(trained) != is_flow_matching(here):
        before = "flow matching" if is_flow_matching(trained) else "diffusion"
        log.warning(
            "start_from=%s: was trained by %s, but this run uses %s: at first, the network "
            "predicts something else",
            *(place, before, model.schedule.kind),
        )
        return
    for key in SCHEDULE:
        if key in trained and key in here and trained[key] != here[key]:
            log.warning(
                "start_from=%s: was trained with %s=%s in its noise schedule, and this run has %s",
                *(place, key, trained[key], here[key]),
            )
