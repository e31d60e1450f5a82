"""`start_from`: the weights that a training begins with, of any kind that there is.

the folder of a run, a .ckpt     of ours; the running average where there is one
a folder of `leffa convert`      likewise
what its authors published       `PersonGenerator.load_published` knows the layout
"""

import logging
from collections.abc import Mapping
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
from leffa.io.weights import load_weights
from leffa.models.export import WEIGHTS, is_exported, is_pipeline, load_exported, read_settings
from leffa.models.interface import PersonGenerator
from leffa.models.lora import without_adapters

log = logging.getLogger(__name__)

# Of a noise schedule: what a network was trained to undo.
SCHEDULE = ("prediction_type", "beta_schedule", "beta_start", "beta_end", "rescale_betas_zero_snr")


def find_start(given: str | Path) -> Path:
    """Where the weights lie that `start_from` names; a name of released weights is resolved here.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    place = Path(given)
    if not place.exists():
        raise FileNotFoundError(
            f"start_from={given}: no such file or folder; give a run, a .ckpt, a folder of "
            "`leffa convert` or a released file"
        )
    return place


def load_start(model: PersonGenerator, place: Path) -> None:
    """Fill a model with trained weights. Adapters that it has stay as they begin.

    Args:
        place: of `find_start`.

    Raises:
        FileNotFoundError: the folder does not have what it should.
        ValueError: the weights are of another architecture, have adapters, or are of what this
            model keeps frozen.
    """
    with without_adapters(model):
        if is_exported(place):
            state, schedule = _exported(place)
        elif place.suffix == ".ckpt" or (place.is_dir() and any(place.glob(f"**/{LAST}"))):
            place = find_checkpoint(place)
            state, schedule = _checkpoint(place)
        else:
            model.load_published(place)
            return
        _check_schedule(model, schedule, place)
        _fill(model, state, place)


def _checkpoint(file: Path) -> tuple[dict[str, Tensor], Any]:
    content = read_checkpoint(file)
    part = content["config"]["model"]
    if part.get("lora"):
        raise ValueError(
            f"start_from={file}: has low-rank adapters; go on with resume=auto, or merge "
            "them first: leffa convert --weights RUN --out FILE.ckpt"
        )
    schedule = part.get("scheduler")
    if isinstance(schedule, Mapping) and part.get("zero_terminal_snr"):
        schedule = {**schedule, "rescale_betas_zero_snr": True}
    return weights_of(content, None, file), schedule


def _exported(folder: Path) -> tuple[dict[str, Tensor], Any]:
    if is_pipeline(folder):
        model, _ = load_exported(folder)
        state = {f"model.{key}": value for key, value in model.saved_state().items()}
        return state, model.scheduler_config
    state = load_weights(folder / WEIGHTS)
    config = read_settings(folder).config or {}
    schedule = config.get("model", {}).get("scheduler")
    return {f"model.{key}": value for key, value in state.items()}, schedule


def _fill(model: PersonGenerator, state: dict[str, Tensor], place: Path) -> None:
    frozen = {f"model.{key}" for key in model.excluded_keys()}
    if lost := sorted(frozen & state.keys()):
        raise ValueError(
            f"start_from={place}: was trained as a whole, and {len(lost)} of its weights are "
            f"frozen here, where no checkpoint would keep them, first {lost[0]}; add "
            "model.trainable=all"
        )
    try:
        fill_model(model, state, place)
    except ValueError as error:
        raise ValueError(f"start_from={str(error).removeprefix('ckpt=')}") from error


def _check_schedule(model: PersonGenerator, trained: Any, place: Path) -> None:
    """Say where noise differs from what the weights know; a base's name alone tells nothing."""
    here = model.scheduler_config
    if not isinstance(trained, Mapping):
        return
    for key in SCHEDULE:
        if key in trained and key in here and trained[key] != here[key]:
            log.warning(
                "start_from=%s: was trained with %s=%s in its noise schedule, and this run has %s",
                *(place, key, trained[key], here[key]),
            )
