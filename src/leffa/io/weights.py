"""Files of weights, read as plain data: nothing in them is ever run."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from leffa.io.terminal import first_line

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dict from .safetensors or a torch file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a state dict, or a file that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file; give the path of your copy")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_pickle(path)
    except SafetensorError as error:
        raise _not_plain(path, error) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ValueError(f"{path}: expected a state dict, names to tensors")
    return state


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a state dict strictly, numbers in float32; the module may still be on the device "meta".

    Raises:
        ValueError: see `refuse`.
    """
    check_state(source, state, module.state_dict())
    exact = {key: each.float() if each.is_floating_point() else each for key, each in state.items()}
    module.load_state_dict(exact, assign=True)


def check_state(
    source: str | Path, state: Mapping[str, Tensor], places: Mapping[str, Tensor]
) -> None:
    """Compare what a file holds with what a network needs, by the same names."""
    wrong = [
        f"{key} {tuple(tensor.shape)} for {tuple(places[key].shape)}"
        for key, tensor in state.items()
        if key in places and places[key].shape != tensor.shape
    ]
    foreign, missing = state.keys() - places.keys(), places.keys() - state.keys()
    refuse(source, sorted(foreign), sorted(missing), wrong)


def refuse(
    source: str | Path, foreign: Sequence[str], missing: Sequence[str], wrong: Sequence[str]
) -> None:
    """Say in one line what does not fit, if anything does not.

    Raises:
        ValueError: keys that have no place, keys that are missing, or tensors of another shape.
    """
    found = {"have no place here": foreign, "are missing": missing, "have another shape": wrong}
    if faults := [
        f"{len(keys)} keys {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in found.items()
        if keys
    ]:
        raise ValueError(f"{source}: does not fit: {'; '.join(faults)}")


def read_pickle(path: Path) -> Any:
    """What a torch file holds as plain data; refuses one that is damaged or would run code."""
    try:
        # Files from before PyTorch 1.6 (2020) are no zip archives, and only those can be mapped.
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises many types: pickle, zip, EOF, runtime errors
        raise _not_plain(path, error) from error


def _not_plain(path: Path, error: Exception) -> ValueError:
    reason = first_line(error)
    if "legacy .tar" in reason:
        reason = (
            "a tar archive of a PyTorch before 2017; if you trust it, torch.load it with "
            "weights_only=False and torch.save it again"
        )
    return ValueError(f"{path}: not a file of plain tensors, so it is not loaded ({reason})")
