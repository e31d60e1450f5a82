"""A trained model as a folder of json and safetensors, and back.

leffa.json           how the model is fed, and where it comes from
README.md            the model card
model_index.json     of Leffa: what `LeffaPipeline.from_pretrained` reads, beside the folders vae,
                     unet (the generative one), reference_unet and scheduler
model.safetensors    of any other model: what its checkpoints hold; leffa.json says how to build it
"""

import dataclasses
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from leffa.io.atomic import new_folder, write_json, write_text
from leffa.io.outputs import check_folder
from leffa.io.terminal import first_line
from leffa.losses.request import FlowRequest
from leffa.models.interface import PersonGenerator
from leffa.models.leffa import LeffaModel, input_channels
from leffa.models.loading import ASSETS, load_scheduler, load_unet, load_vae
from leffa.models.pipeline import LeffaPipeline
from leffa.models.sampler import SamplerSettings
from leffa.models.unets import cut_unets

SETTINGS, CARD = "leffa.json", "README.md"
INDEX, WEIGHTS = "model_index.json", "model.safetensors"  # a folder has one of the two
# In a configuration: what was `model.lora` before the adapters became part of the weights.
MERGED_ADAPTERS = "merged_adapters"
FORMAT = 2  # of leffa.json; a later one is refused by name. 1 had the inputs beside the rest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class InputSpec:
    """The input format that a model was trained on, as plain values.

    It belongs to the weights: it is saved in checkpoints and exported folders, and every command
    prepares its inputs accordingly.

    Args:
        height, width: size of the last training images, in pixels.
        densepose, part_range, image_filter, fit: see `PersonTransform`; densepose "none": -1
            everywhere.
        label_set: label set of the parsing maps that its masks were made from.
        recipe: recipe of `preprocess.agnostic` that made its masks; None: mask files.
    """

    task: Literal["tryon", "pose"]
    height: int
    width: int
    densepose: str = "none"
    part_range: int = 24
    image_filter: str = "lanczos"
    fit: str = "stretch"
    label_set: str = "cihp"
    recipe: str | None = None


@dataclass(frozen=True)
class ModelSettings:
    """A model's input format, default sampler and provenance, as plain values.

    Args:
        source: a description of the file that the weights come from.
        temperature, min_resolution, strict, flow_layers: how its flow is read, see `FlowRequest`.
        step: optimizer steps; None for third-party weights.
        config: resolved training configuration; None for third-party weights.
    """

    inputs: InputSpec
    source: str
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    temperature: float = 2.0
    min_resolution: float = 1 / 32
    strict: bool = False
    flow_layers: tuple[str, ...] | None = None
    step: int | None = None
    config: dict[str, Any] | None = None

    @property
    def flow_request(self) -> FlowRequest:
        """What to ask the model for, to see its flow."""
        return FlowRequest(
            self.temperature, self.min_resolution, self.strict, layers=self.flow_layers
        )


# The released files as the authors' app feeds them (Leffa, `app.py`, `transform.py`; paper, section
# 4.1). At 1024x768. What its own app gives the pose model differs: part_range=255.
_HD = InputSpec("tryon", 1024, 768, densepose="colour", label_set="atr", recipe="leffa_hd")
_DC = replace(_HD, densepose="labels", part_range=255, recipe="leffa_dc")
OFFICIAL: dict[str, ModelSettings] = {
    "virtual_tryon": ModelSettings(_HD, "virtual_tryon"),
    "virtual_tryon_dc": ModelSettings(_DC, "virtual_tryon_dc"),
    "pose_transfer": ModelSettings(InputSpec("pose", 1024, 768, densepose="iuv"), "pose_transfer"),
}


# Trained on the synthetic dataset; they come with the package (benchmarks/ship_baseline.py).
BASELINES = {name: ASSETS / name for name in ("tryon_baseline", "pose_baseline")}


def or_baseline(place: Path) -> Path:
    """The folder of a baseline where its name is given; else the place as it is."""
    return place if place.exists() else BASELINES.get(str(place), place)


def is_exported(path: Path) -> bool:
    """Whether this is a folder that `save_exported` wrote."""
    return (path / SETTINGS).is_file() and any((path / name).is_file() for name in (INDEX, WEIGHTS))


def is_pipeline(folder: Path) -> bool:
    """Whether an exported folder has the parts of a pipeline; else it has only weights."""
    return (folder / INDEX).is_file()


def save_exported(
    model: PersonGenerator, folder: Path, settings: ModelSettings, card: str, dtype: str = "float32"
) -> None:
    """Write the folder atomically. The model is converted to `dtype` in place.

    Raises:
        ValueError: the folder is not empty, the dtype is unknown, or a model other than Leffa's has
            no configuration to build it from.
    """
    check_target(folder)
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype}: choose one of {', '.join(DTYPES)}")
    if not isinstance(model, LeffaModel) and settings.config is None:
        raise ValueError(
            f"{settings.source}: has no training configuration, which the folder of a "
            f"{type(model).__name__} needs; convert a checkpoint of a run"
        )
    model.to(DTYPES[dtype])
    with new_folder(folder) as temporary:
        if isinstance(model, LeffaModel):
            _pipeline(model, settings).save_pretrained(temporary)
        else:
            state = {key: each.contiguous() for key, each in model.saved_state().items()}
            save_file(state, temporary / WEIGHTS)
        write_json(temporary / SETTINGS, {"format": FORMAT, **asdict(settings)})
        write_text(temporary / CARD, card)


def _pipeline(model: LeffaModel, settings: ModelSettings) -> LeffaPipeline:
    return LeffaPipeline(
        model.vae,
        model.reference_unet,
        model.generative_unet,
        load_scheduler(model.scheduler_config),
        parts=list(model.parts),
        height=settings.inputs.height,
        width=settings.inputs.width,
    )


def check_target(path: Path) -> None:
    """Raise ValueError where something would be overwritten, or its place is not there."""
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"{path}: is not empty; give another --out, or delete it")
    if path.is_file():
        raise ValueError(f"{path}: is there already; give another --out, or delete it")
    check_folder(path.parent)


def load_exported(folder: Path) -> tuple[LeffaModel, ModelSettings]:
    """Load an exported folder: the model, in float32 and evaluation mode, and its settings.

    Raises:
        FileNotFoundError: the folder or a part of it is missing.
        ValueError: a part is damaged or does not fit the others.
    """
    settings = read_settings(folder)
    parts = tuple(_read_json(folder / INDEX).get("parts", ()))
    vae = load_vae(folder).float()
    reference, generative = _load_unet(folder / "reference_unet"), _load_unet(folder / "unet")
    latent = vae.config.latent_channels
    cut_unets(reference, generative, latent, input_channels(latent, parts))
    scheduler = dict(load_scheduler(folder).config)
    model = LeffaModel(generative, vae, scheduler, parts, reference_unet=reference).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        # Where they lie in the file is no multiple of what kernels load at once, and they round
        # otherwise then: the same weights from a checkpoint would give other bits.
        tensor.data = tensor.data.clone()
    return model, settings


def read_settings(folder: Path) -> ModelSettings:
    """What `leffa.json` says.

    Raises:
        FileNotFoundError: there is none: not an exported folder.
        ValueError: it is damaged, or of a later version.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: has no {SETTINGS}; `leffa convert` makes such a folder from weights"
        )
    content = _read_json(path)
    if (version := content.pop("format", None)) not in (1, FORMAT):
        raise ValueError(f"{path}: is of another version of leffa; convert the weights again")
    if version == 1:
        keys = {entry.name for entry in dataclasses.fields(InputSpec)} & content.keys()
        content["inputs"] = {key: content.pop(key) for key in keys}
    if not isinstance(content.get("config"), dict | None):
        raise ValueError(f"{path}: its config holds no settings; convert the weights again")
    known = {entry.name for entry in dataclasses.fields(ModelSettings)}
    if unknown := content.keys() - known:
        raise ValueError(f"{path}: unknown key {min(unknown)!r}; choose from {', '.join(known)}")
    if content.get("flow_layers") is not None:
        content["flow_layers"] = tuple(content["flow_layers"])
    try:
        sampler = SamplerSettings(**content.pop("sampler", {}))
        inputs = InputSpec(**content.pop("inputs", {}))
        return ModelSettings(inputs=inputs, **content, sampler=sampler)
    except TypeError as error:
        raise ValueError(f"{path}: {error}; convert the weights again") from error


def _load_unet(folder: Path) -> UNet2DConditionModel:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: does not exist; convert the weights again")
    try:
        return load_unet(folder, changes={})
    except (OSError, RuntimeError) as error:
        reason = first_line(error)
        raise ValueError(f"{folder}: cannot be read ({reason})") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); convert the weights again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds no settings; convert the weights again")
    return content
