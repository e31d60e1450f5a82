"""Load weights of any kind: a model, its input format, and how its flows are read.

a .ckpt file, or the folder of a run     written by train.py
a folder that `leffa convert` wrote
tryon_baseline, pose_baseline            shipped with the package, by name
virtual_tryon.pth, ...                   the released files, over a diffusers base folder
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from leffa.inference.checkpoints import (
    FLOW_LAYERS,
    INPUTS,
    Weights,
    fill_model,
    find_checkpoint,
    read_checkpoint,
    weights_of,
)
from leffa.inference.foreign import build_model
from leffa.io.weights import load_weights
from leffa.losses.request import FlowRequest, as_patterns
from leffa.models.checkpoints import load_official
from leffa.models.export import (
    OFFICIAL,
    SETTINGS,
    WEIGHTS,
    InputSpec,
    ModelSettings,
    is_exported,
    is_pipeline,
    load_exported,
    or_baseline,
    read_settings,
)
from leffa.models.interface import PersonGenerator
from leffa.models.sampler import SamplerSettings

OFFICIAL_SUFFIXES = (".pth", ".pt", ".safetensors", ".bin")
STEPS = {"ddpm": 50}  # of each scheduler, where it is not 20


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, with the settings of its training."""

    model: PersonGenerator
    settings: ModelSettings  #: its input format and sampling
    file: Path  #: that was read: its time identifies a version of the weights
    official: str | None = None  #: which released file it is, if it is one

    @property
    def inputs(self) -> InputSpec:
        """What it was trained to read."""
        return self.settings.inputs

    @property
    def flow_request(self) -> FlowRequest:
        """How its flows are read: in the layers and at the temperature of its training."""
        return self.settings.flow_request

    @property
    def name(self) -> str:
        """Of its run; else of the file that the weights come from."""
        config = self.settings.config or {}
        return str(config.get("run_name", config.get("name", Path(self.settings.source).stem)))


def find_weights(place: Path) -> Path:
    """The file whose time identifies a version of the weights: `LoadedModel.file`.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: the folder holds several runs.
    """
    place = or_baseline(place)
    if is_exported(place):
        return place / SETTINGS
    if place.suffix in OFFICIAL_SUFFIXES and not place.is_dir():
        if not place.is_file():
            raise FileNotFoundError(f"{place}: no such weights file")
        return place
    if not place.exists():
        raise FileNotFoundError(
            f"{place}: no such weights; give a .ckpt file, the folder of a run, or one that "
            "`leffa convert` wrote"
        )
    return find_checkpoint(place)


def load_model(
    place: Path,
    weights: Weights | None = None,
    base: str | None = None,
    preset: str | None = None,
    file: Path | None = None,
) -> LoadedModel:
    """Load weights of any kind.

    Args:
        place: a .ckpt, a run's folder (its last checkpoint), an exported folder or a released file.
        weights: for a checkpoint: "raw" or "ema"; None: the EMA if there is one.
        base: for a released file: a diffusers folder or hub id with the configs of its networks.
        preset: for a released file: a name of `OFFICIAL`; None: by the file's name.
        file: the result of `find_weights`, if known.

    Raises:
        FileNotFoundError: the weights do not exist.
        ValueError: the weights are damaged, would run code, or need `base`, `preset` or `weights`.
    """
    file = file or find_weights(place)
    if weights is not None and file.suffix != ".ckpt":
        raise ValueError(
            f"weights={weights}: {place} has one kind of weights; leave it out, or give the run"
        )
    if file.suffix in OFFICIAL_SUFFIXES:
        return _official(file, base, preset)
    for name, value in (("base", base), ("as", preset)):
        if value is not None:
            raise ValueError(f"--{name} goes with a released file (.pth); {place} is not one")
    if file.name != SETTINGS:
        return _of_checkpoint(file, weights)
    folder = file.parent
    settings = read_settings(folder)
    model = load_exported(folder)[0] if is_pipeline(folder) else _built(folder, settings.config)
    return LoadedModel(model.eval(), settings, file)


def read_inputs(content: dict[str, Any], file: Path) -> InputSpec | None:
    """The input format of a checkpoint; old ones have it only in their configuration, if at all."""
    if INPUTS in content:
        try:
            return InputSpec(**content[INPUTS])
        except TypeError as error:
            raise ValueError(
                f"{file}: its inputs are not as train.py writes them: {error}"
            ) from error
    try:
        return inputs_of_config(content["config"])
    except (LookupError, AttributeError, TypeError):
        return None


def settings_of_run(
    config: dict[str, Any],
    step: int,
    source: Path,
    inputs: InputSpec | None = None,
    flow_layers: list[str] | None = None,
) -> ModelSettings:
    """Input format and sampler of a model, from the configuration of its training.

    The sampler gets at least its usual number of steps, since validation uses few.

    Args:
        inputs: None: those that the configuration says.
        flow_layers: what `leffa_loss.layers=auto` chose.
    """
    try:
        loss, sampler = config["leffa_loss"], dict(config["sampler"])
        make: Any = SamplerSettings
        if sampler.pop("_target_").endswith(".official"):
            make = SamplerSettings.official
        sampler["steps"] = max(sampler["steps"], STEPS.get(sampler["scheduler"], 20))
        return ModelSettings(
            inputs=inputs or inputs_of_config(config),
            source=str(source),
            sampler=make(**sampler),
            temperature=loss["temperature"],
            min_resolution=loss["min_resolution"],
            strict=loss.get("strict", False),
            flow_layers=_flow_layers(loss.get("layers", "all"), flow_layers),
            step=step,
            config=config,
        )
    except (LookupError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{source}: its configuration is not as train.py writes it "
            f"({type(error).__name__}: {error})"
        ) from error


def _flow_layers(layers: str | list[str], chosen: list[str] | None) -> tuple[str, ...] | None:
    """The layers whose flow is read; None: all."""
    if layers in ("all", "auto"):
        return None if chosen is None else as_patterns(chosen)
    return as_patterns(layers)


def inputs_of_config(config: dict[str, Any]) -> InputSpec:
    """The input format in a training configuration; KeyError where that is incomplete."""
    transform, stage = config["data"]["transform"], config["curriculum"]["stages"][-1]
    recipe = transform.get("agnostic") or {}
    given = {entry.name for entry in fields(InputSpec)} & transform.keys()
    return InputSpec(
        height=stage["height"],
        width=stage["width"],
        recipe=recipe["path"].rsplit(".", 1)[-1] if "path" in recipe else None,
        **{name: transform[name] for name in given - {"height", "width", "recipe"}},
    )


def _official(weights: Path, base: str | None, preset: str | None) -> LoadedModel:
    name = preset or weights.stem
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
    return LoadedModel(model, replace(OFFICIAL[name], source=weights.name), weights, name)


def _of_checkpoint(file: Path, weights: Weights | None) -> LoadedModel:
    content = read_checkpoint(file)
    state = weights_of(content, weights, file)
    model = build_model(content["config"], file)
    fill_model(model, state, file)
    step, inputs = int(content.get("global_step", 0)), read_inputs(content, file)
    settings = settings_of_run(content["config"], step, file, inputs, content.get(FLOW_LAYERS))
    return LoadedModel(model.eval(), settings, file)


def _built(folder: Path, config: dict[str, Any] | None) -> PersonGenerator:
    if config is None:
        raise ValueError(f"{folder / SETTINGS}: has no configuration; convert the weights again")
    model = build_model(config, folder / SETTINGS)
    fill_model(model, load_weights(folder / WEIGHTS), folder)
    return model
