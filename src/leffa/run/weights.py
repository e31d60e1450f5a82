"""A trained model from its weights alone: a checkpoint, a run's folder, or an exported folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from leffa.losses.flow import LeffaLoss
from leffa.models.export import (
    SETTINGS,
    WEIGHTS,
    is_exported,
    is_pipeline,
    load_exported,
    read_settings,
)
from leffa.models.interface import PersonGenerator
from leffa.run.config import build
from leffa.run.foreign import foreign_part
from leffa.training.checkpoints import (
    Weights,
    find_checkpoint,
    load_trained,
    read_checkpoint,
    weights_of,
)
from leffa.weights_file import load_weights


class Inference(nn.Module):
    """What pictures and flows need of a `PersonGenerationModule`, under the names that its
    checkpoints have."""

    def __init__(self, model: PersonGenerator, leffa_loss: LeffaLoss) -> None:
        super().__init__()
        self.model = model
        self.leffa_loss = leffa_loss


@dataclass(frozen=True)
class Restored:
    """A model in evaluation mode, and what is known of its training.

    Args:
        file: which was read last: its time tells one state of the weights from another.
        leffa_loss: how its flows are read (temperature, resolutions).
        name: of the experiment.
        step: optimiser steps; None where nobody counted them.
        config: of the training, resolved; None for the weights of others.
    """

    model: PersonGenerator
    file: Path
    leffa_loss: LeffaLoss
    name: str
    step: int | None
    config: dict[str, Any] | None


def restore_model(place: Path, weights: Weights | None = None) -> Restored:
    """The model of a checkpoint, of a run's last checkpoint, or of a folder of `leffa convert`.

    Args:
        place: a .ckpt file or a folder.
        weights: of a checkpoint: see `restore`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, wants to run code, has no such weights, or they are of another
            model.
    """
    if not is_exported(place):
        file = find_checkpoint(place)
        config, module = restore(file, weights)
        step = int(read_checkpoint(file).get("global_step", 0))
        model = module.model.eval()
        name = _name(config, file.stem)
        return Restored(model, file, module.leffa_loss, name, step, config)
    if weights is not None:
        raise ValueError(
            f"weights={weights}: {place} has one kind of weights; leave it out, or give the run"
        )
    settings = read_settings(place)
    reading = LeffaLoss(temperature=settings.temperature, min_resolution=settings.min_resolution)
    model = load_exported(place)[0] if is_pipeline(place) else _built(place, settings.config)
    name = _name(settings.config or {}, settings.source)
    return Restored(model.eval(), place / SETTINGS, reading, name, settings.step, settings.config)


def _name(config: dict[str, Any], otherwise: str) -> str:
    """Of the experiment, which says so where the Leffa loss was off."""
    return str(config.get("run_name", config.get("name", otherwise)))


def weights_file(place: Path) -> Path:
    """The file whose time tells one state of the weights from another: `Restored.file`."""
    return place / SETTINGS if is_exported(place) else find_checkpoint(place)


def restore(checkpoint: Path, weights: Weights | None = None) -> tuple[dict[str, Any], Inference]:
    """The configuration and the networks of a checkpoint of ours, rebuilt from the checkpoint
    alone; of what else it was trained with nothing is built.

    Args:
        checkpoint: a .ckpt file, or the folder of a run (its last checkpoint).
        weights: "raw", as trained, or "ema", their running average; None for the average where
            there is one.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the file is no checkpoint of ours, its configuration names what `conf/` does
            not, its weights are of another model, or it has no average.
    """
    file = find_checkpoint(checkpoint)
    content = read_checkpoint(file)
    state = weights_of(content, weights, checkpoint)
    config = content["config"]
    module = _rebuilt(config, file)
    load_trained(module, state, checkpoint)
    return config, module


def _rebuilt(config: dict[str, Any], file: Path) -> Inference:
    model, leffa_loss = (foreign_part(config, group, file) for group in ("model", "leffa_loss"))
    model.pop("start_from", None)  # its weights are in the file
    return Inference(build(model), build(leffa_loss))


def _built(folder: Path, config: dict[str, Any] | None) -> PersonGenerator:
    if config is None:
        raise ValueError(f"{folder / SETTINGS}: has no configuration; convert the weights again")
    module = _rebuilt(config, folder / SETTINGS)
    state = load_weights(folder / WEIGHTS)
    load_trained(module, {f"model.{key}": each for key, each in state.items()}, folder)
    return module.model
