"""Read the parts of a diffusers base, and check that weights fit: every key of a file needs a place
in the network, and every place a key."""

import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderTiny,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
)
from diffusers.utils import _get_model_file
from torch import Tensor, nn

from leffa.io.weights import SUFFIXES, check_state, load_weights, refuse
from leffa.losses.diffusion import DiffusionSchedule
from leffa.losses.flow_matching import DynamicShift, FlowMatchingSchedule
from leffa.losses.schedule import NoiseSchedule
from leffa.models.taef2 import AutoencoderTAEF2, is_taef2, load_taef2

# SHIPPED, a diffusers folder, a hub id, or a config for random weights.
Source: TypeAlias = str | Path | dict[str, Any]
Autoencoder: TypeAlias = AutoencoderKL | AutoencoderTiny | AutoencoderDC

# The small networks of this package. Other weights are another version: what was trained with one
# cannot be read with the next.
SHIPPED = "shipped@2"
ASSETS = Path(__file__).parent.parent / "assets"
SHIPPED_VAE = ASSETS / "synthetic_vae"
SHIPPED_UNET = ASSETS / "synthetic_unet"

# SDXL conditions on text and on crop sizes through `add_embedding`; without text both are dropped.
NO_TEXT: dict[str, Any] = {"addition_embed_type": None, "encoder_hid_dim_type": None}
# Keys of published files that no network here has.
UNUSED = (
    "add_embedding.",  # see NO_TEXT
    "vision_model.embeddings.position_ids",  # a range of numbers in older files
    *("text_model.", "text_projection.", "logit_scale"),  # CLIP's other half
)


def on_meta_device() -> bool:
    """Whether networks are made under `torch.device("meta")`: then only configs are read."""
    return torch.get_default_device().type == "meta"


def is_hub_id(name: str) -> bool:
    """owner/name or owner/name/subfolder, rather than the path of a file or folder."""
    owner, *rest = name.split("/")
    return bool(rest) and owner not in ("", ".", "..", "~") and Path(name).suffix not in SUFFIXES


def is_shipped(source: Source) -> bool:
    """Whether the source is a network shipped with this package.

    Raises:
        ValueError: it is of another version, which is no longer shipped.
    """
    if isinstance(source, str) and re.fullmatch(r"shipped(@.*)?", source) and source != SHIPPED:
        raise ValueError(
            f"{source}: these small networks came with another version of leffa, and this one has "
            f"{SHIPPED}: weights trained with them can only be read by that version, and must be "
            "retrained here"
        )
    return source == SHIPPED


def named(source: Source) -> str:
    """A source as messages show it: what the user gave, without the content of a config."""
    return "the backbone's new network" if isinstance(source, dict) else str(source)


def locate(source: str | Path, part: str, config: str = "config.json") -> tuple[str, str | None]:
    """(folder or hub id, subfolder) of a part of a diffusers base.

    Args:
        source: a folder with the file `config` in it or in its subfolder `part`; or a hub id
            owner/name, or owner/name/subfolder.

    Raises:
        FileNotFoundError: the path does not exist, or has no such part.
    """
    folder = Path(source)
    if (folder / config).is_file():
        return str(folder), None
    if (folder / part / config).is_file():
        return str(folder), part
    if folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: has no {Path(part, config).as_posix()}; give a diffusers folder"
        )
    if not is_hub_id(str(source)):
        raise FileNotFoundError(
            f"{source}: does not exist; give a diffusers folder, or a hub id such as owner/name"
        )
    owner, name, *subfolders = str(source).split("/")
    return f"{owner}/{name}", "/".join(subfolders) or part


def hub_file(source: str | Path) -> Path:
    """A file: a path, or owner/name/path on the hub, which is fetched."""
    if Path(source).is_file():
        return Path(source)
    owner, *rest = str(source).split("/")
    if len(rest) < 2 or owner in ("", ".", "..", "~"):
        raise FileNotFoundError(f"{source}: no such file")
    return _fetched(f"{owner}/{rest[0]}", "/".join(rest[1:]))


def read_network(location: str, subfolder: str | None) -> dict[str, Tensor]:
    """The weights of a network's folder, local or on the hub, by the names in its file."""
    try:
        file = _fetched(location, "diffusion_pytorch_model.safetensors", subfolder)
    except FileNotFoundError:
        file = _fetched(location, "diffusion_pytorch_model.bin", subfolder)
    return load_weights(file)


def _fetched(location: str, name: str, subfolder: str | None = None) -> Path:
    """A file of a folder, or of the hub's cache; fetched where it is in neither."""
    try:
        return Path(_get_model_file(location, weights_name=name, subfolder=subfolder))
    except OSError as error:
        raise FileNotFoundError(f"{location}: {str(error).splitlines()[0]}") from error


def load_unet(
    source: Source | UNet2DConditionModel,
    channels: int | None = None,
    changes: Mapping[str, Any] = NO_TEXT,
) -> UNet2DConditionModel:
    """A stock UNet in float32.

    Args:
        source: one that is built already is returned as it is.
        channels: input channels of a new one, where `source` is a config.
        changes: replace values of its config.
    """
    if isinstance(source, UNet2DConditionModel):
        return source
    if isinstance(source, dict):
        inputs = {} if channels is None else {"in_channels": channels}
        return UNet2DConditionModel.from_config({**source, **changes, **inputs})
    location, subfolder = locate(SHIPPED_UNET if is_shipped(source) else source, "unet")
    if on_meta_device():
        config = UNet2DConditionModel.load_config(location, subfolder=subfolder)
        return UNet2DConditionModel.from_config({**config, **changes})
    return read_pretrained(UNet2DConditionModel, source, location, subfolder, **changes)


def load_vae(source: Source | Autoencoder | None) -> Autoencoder:
    """A frozen autoencoder; of a config for random weights, an AutoencoderKL if it names no
    other. One that is built already is returned as it is."""
    if source is None:
        raise ValueError("backbone.vae=null: give the folder of an autoencoder, backbone.vae=DIR")
    if isinstance(source, nn.Module):
        return source
    location = None
    if isinstance(source, str | Path) and is_taef2(Path(source)):
        return load_taef2(Path(source)).requires_grad_(False).eval()
    if isinstance(source, dict):
        config = {"_class_name": "AutoencoderKL", **source}
    else:
        location, subfolder = locate(SHIPPED_VAE if is_shipped(source) else source, "vae")
        config = AutoencoderKL.load_config(location, subfolder=subfolder)
    classes: dict[str, type[Autoencoder]] = {
        "AutoencoderKL": AutoencoderKL,
        "AutoencoderTiny": AutoencoderTiny,
        "AutoencoderDC": AutoencoderDC,
        "AutoencoderTAEF2": AutoencoderTAEF2,
    }
    if (name := config["_class_name"]) not in classes:
        raise ValueError(f"{source}: the autoencoder is a {name}; choose from {', '.join(classes)}")
    if location is None or on_meta_device():
        vae = classes[name].from_config(config)
    else:
        vae = read_pretrained(classes[name], source, location, subfolder)
    return vae.requires_grad_(False).eval()


def is_flow_matching(scheduler: Mapping[str, Any]) -> bool:
    """Whether the config of a diffusers scheduler is one of flow matching."""
    return str(scheduler.get("_class_name")).startswith("FlowMatch")


def load_scheduler(source: Source) -> DDPMScheduler | FlowMatchEulerDiscreteScheduler:
    """The training noise schedule: of a base's scheduler, whichever it is, what training reads."""
    if isinstance(source, dict):
        config = source
    else:
        location, subfolder = locate(source, "scheduler", "scheduler_config.json")
        config = DDPMScheduler.load_config(location, subfolder=subfolder)
    if is_flow_matching(config):
        return FlowMatchEulerDiscreteScheduler.from_config(config)
    return DDPMScheduler.from_config(config)


def noise_schedule(config: dict[str, Any]) -> NoiseSchedule:
    """How a scheduler's config adds noise.

    Raises:
        ValueError: an unknown prediction type or direction of time.
    """
    scheduler = load_scheduler(config)
    known = scheduler.config
    if isinstance(scheduler, DDPMScheduler):
        return DiffusionSchedule(scheduler.alphas_cumprod, known.prediction_type)
    if known.invert_sigmas:
        raise ValueError("backbone.scheduler.invert_sigmas=true: noise at sigma 0 is unknown here")
    shift: DynamicShift | float = known.shift
    if known.use_dynamic_shifting:
        shift = DynamicShift(**{field.name: known[field.name] for field in fields(DynamicShift)})
    return FlowMatchingSchedule(known.num_train_timesteps, shift)


def load_transformers(kind: Any, source: str | Path, part: str) -> Any:
    """A network of the package transformers, in float32.

    Args:
        source, part: see `locate`.
    """
    location, subfolder = locate(source, part)
    where = {"subfolder": subfolder or ""}
    if on_meta_device():
        return kind(kind.config_class.from_pretrained(location, **where))
    model, found = kind.from_pretrained(
        location, dtype=torch.float32, output_loading_info=True, **where
    )
    check_found(source, found)
    return model


def transformers_package(key: str) -> Any:
    """The package, which is optional.

    Raises:
        ValueError: it is missing; the message names the key that needs it.
    """
    if importlib.util.find_spec("transformers") is None:
        raise ValueError(f"{key} needs the package transformers: pip install -e '.[idm_vton]'")
    return importlib.import_module("transformers")


def copy_weights(
    source: str | Path, state: Mapping[str, Tensor], places: Mapping[str, Tensor]
) -> None:
    """Copy weights by their published names to those parameters of `places` that are trained."""
    check_state(source, state, places)
    with torch.no_grad():
        for key, place in places.items():
            if place.requires_grad:
                place.copy_(state[key])


def read_pretrained(
    kind: Any, source: Source, location: str, subfolder: str | None, **more: Any
) -> Any:
    """A network of diffusers with the weights of its folder or hub id, by default in float32.

    Raises:
        ValueError: a weight has no place, or a place no weight.
    """
    usual = {
        "torch_dtype": torch.float32,
        "low_cpu_mem_usage": False,
        "ignore_mismatched_sizes": True,  # which are reported instead
    }
    network, found = kind.from_pretrained(
        location, subfolder=subfolder, output_loading_info=True, **(usual | more)
    )
    check_found(named(source), found)
    return network


def check_found(source: str | Path, found: Mapping[str, Iterable[Any]]) -> None:
    """Refuse what `from_pretrained` of diffusers or transformers could not place."""
    wrong = [
        f"{key} {tuple(theirs)} for {tuple(ours)}" for key, theirs, ours in found["mismatched_keys"]
    ]
    foreign = [key for key in found["unexpected_keys"] if not key.startswith(UNUSED)]
    refuse(source, foreign, sorted(found["missing_keys"]), wrong)
