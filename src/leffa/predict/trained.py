"""Weights of every kind as one thing: a model, and how it is fed.

a .ckpt file, or the folder of a run     of ours
a folder that `leffa convert` wrote
virtual_tryon.pth, ...                   the released files, over a diffusers base folder
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leffa.models.checkpoints import load_official
from leffa.models.export import (
    OFFICIAL,
    ModelSettings,
    is_exported,
    is_pipeline,
    load_exported,
    read_settings,
)
from leffa.models.interface import PersonGenerator
from leffa.models.sampler import SamplerSettings

OFFICIAL_SUFFIXES = (".pth", ".pt", ".safetensors", ".bin")
STEPS = {"ddpm": 50}  # of each scheduler, where it is not 20


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode, how it is fed, and which released file it is, if it is one."""

    model: PersonGenerator
    settings: ModelSettings
    official: str | None = None


def load_trained(
    weights: Path, base: str | None = None, preset: str | None = None, raw: bool = False
) -> Trained:
    """Load weights of any kind.

    Args:
        base: for a released file: a diffusers folder or hub id with the configs of its networks.
        preset: for a released file: a name of `OFFICIAL`; None: by the file's name.
        raw: of a checkpoint with a running average, the weights as trained.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: they are damaged, want to run code, or need `base` or `preset`.
    """
    if is_exported(weights) and is_pipeline(weights):
        return Trained(*load_exported(weights))  # without what checkpoints need
    if weights.suffix in OFFICIAL_SUFFIXES:
        return _official(weights, base, preset)
    for name, value in (("base", base), ("as", preset)):
        if value is not None:
            raise ValueError(f"--{name} goes with a released file (.pth); {weights} is not one")
    return _of_run(weights, raw)


def settings_of_run(config: dict[str, Any], step: int, source: Path) -> ModelSettings:
    """How a model of ours is fed, by the configuration of its training.

    The sampler is that of the training but for its steps: validation keeps them few.
    """
    transform, loss = config["data"]["transform"], config["leffa_loss"]
    stage = config["curriculum"]["stages"][-1]
    recipe = transform.get("agnostic") or {}
    sampler = dict(config["sampler"])
    make: Any = SamplerSettings
    if sampler.pop("_target_").endswith(".official"):
        make = SamplerSettings.official
    sampler["steps"] = STEPS.get(sampler["scheduler"], 20)
    names = ("densepose", "part_range", "image_filter", "label_set")
    return ModelSettings(
        task=transform["task"],
        height=stage["height"],
        width=stage["width"],
        source=str(source),
        recipe=recipe["path"].rsplit(".", 1)[-1] if "path" in recipe else None,
        sampler=make(**sampler),
        temperature=loss["temperature"],
        min_resolution=loss["min_resolution"],
        step=step,
        config=config,
        **{name: transform[name] for name in names if name in transform},
    )


def _official(weights: Path, base: str | None, preset: str | None) -> Trained:
    name = preset or weights.stem
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: no such weights file")
    if name not in OFFICIAL:
        raise ValueError(
            f"{weights}: its name does not say what it was trained for; add "
            f"--as {'|'.join(OFFICIAL)}"
        )
    if base is None:
        raise ValueError(
            f"{weights}: holds no configs of its networks; add --base with the diffusers folder "
            "or hub id of Stable Diffusion inpainting (1.5 for try-on, XL for pose transfer)"
        )
    model = load_official(base, weights)
    return Trained(model, replace(OFFICIAL[name], source=weights.name), name)


def _of_run(weights: Path, raw: bool) -> Trained:
    # Imported here: Hydra and Lightning are not for the released files.
    from leffa.run import restore_model

    if not weights.exists():
        raise FileNotFoundError(
            f"{weights}: no such weights; give a .ckpt file, the folder of a run, or one that "
            "`leffa convert` wrote"
        )
    restored = restore_model(weights, "raw" if raw else None)
    if is_exported(weights):
        return Trained(restored.model, read_settings(weights))
    assert restored.config is not None and restored.step is not None  # a checkpoint has both
    try:
        settings = settings_of_run(restored.config, restored.step, restored.file)
    except (LookupError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{restored.file}: its configuration is not as train.py writes it "
            f"({type(error).__name__}: {error})"
        ) from error
    return Trained(restored.model, settings)
