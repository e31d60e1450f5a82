"""Where pretrained networks lie, and whether every key of a file has found its place."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from leffa.io.weights import SUFFIXES, load_weights
from leffa.models.state import check_state, refuse
from leffa.models.unets import shapes_alone, unet_without_values

UNUSED = {
    "add_embedding.": "the garment network takes no crop sizes and no pooled text",
    "vision_model.embeddings.position_ids": "a range of numbers that older files keep",
}
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def locate(source: str | Path, part: str) -> tuple[str, str | None]:
    """(folder or hub id, subfolder) of a part of a diffusers folder.

    Args:
        source: a folder that holds `config.json` itself or in its subfolder `part`; or a hub id
            owner/name, or owner/name/subfolder.

    Raises:
        FileNotFoundError: the path does not exist, or has no such part.
    """
    folder = Path(source)
    if folder.is_dir():
        if (folder / "config.json").is_file():
            return str(folder), None
        if not (folder / part / "config.json").is_file():
            raise FileNotFoundError(f"{folder}: has no {part}/config.json; give a diffusers folder")
        return str(folder), part
    owner, *rest = str(source).split("/")
    if not rest or owner in ("", ".", "..", "~") or folder.suffix in SUFFIXES:
        raise FileNotFoundError(
            f"{source}: does not exist; give a diffusers folder, or a hub id such as owner/name"
        )
    return f"{owner}/{rest[0]}", "/".join(rest[1:]) or part


def hub_file(source: str | Path) -> Path:
    """A file: a path, or owner/name/path on the hub, which is fetched.

    Raises:
        FileNotFoundError: the path does not exist and is no such name.
    """
    path = Path(source)
    owner, *rest = str(source).split("/")
    if path.is_file() or path.is_absolute() or len(rest) < 2 or owner in ("", ".", ".."):
        if not path.is_file():
            raise FileNotFoundError(f"{source}: no such file")
        return path
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(f"{owner}/{rest[0]}", "/".join(rest[1:])))


def read_unet(location: str, subfolder: str | None) -> dict[str, Tensor]:
    """The weights of a UNet's folder, local or on the hub, as they are in its file."""
    folder = Path(location)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(location, allow_patterns=f"{subfolder}/*"))
    folder = folder / subfolder if subfolder else folder
    for name in WEIGHTS:
        if (folder / name).is_file():
            return load_weights(folder / name)
    raise FileNotFoundError(f"{folder}: has neither {' nor '.join(WEIGHTS)}")


def load_stock_unet(source: str | Path, **changes: Any) -> UNet2DConditionModel:
    """A stock UNet of a diffusers folder or hub id, in float32, with some values of its config
    changed; nothing is made up for a weight that is missing."""
    location, subfolder = locate(source, "unet")
    if shapes_alone():
        return unet_without_values(location, subfolder, **changes)
    unet, found = UNet2DConditionModel.from_pretrained(
        location,
        subfolder=subfolder,
        torch_dtype=torch.float32,
        low_cpu_mem_usage=False,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **changes,
    )
    check_found(source, found)
    return unet


def check_found(source: str | Path, found: dict[str, Iterable[Any]]) -> None:
    """Refuse what a `from_pretrained` of diffusers or transformers could not place.

    Raises:
        ValueError: see `refuse`.
    """
    wrong = [
        f"{key} {tuple(theirs)} for {tuple(ours)}" for key, theirs, ours in found["mismatched_keys"]
    ]
    foreign = [key for key in found["unexpected_keys"] if not key.startswith(tuple(UNUSED))]
    refuse(source, foreign, sorted(found["missing_keys"]), wrong)


def fill(module: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    """Put every tensor of a state dict into its place; the module may have no memory of its own
    yet (the device "meta").

    Raises:
        ValueError: see `refuse`.
    """
    check_state(source, state, module.state_dict())
    module.load_state_dict({key: tensor.float() for key, tensor in state.items()}, assign=True)
