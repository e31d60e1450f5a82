"""Files of weights, read as plain data: nothing in them is ever run."""

import zipfile
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


def fill(model: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """Give a model, of the device "meta" for instance, its weights.

    Raises:
        ValueError: a weight is missing, of another shape, or of no use here.
    """
    wanted = model.state_dict()
    wrong = [key for key in state if key in wanted and state[key].shape != wanted[key].shape]
    for problem, keys in (
        ("is missing", wanted.keys() - state.keys()),
        ("has no place in this network", state.keys() - wanted.keys()),
        ("has another shape", wrong),
    ):
        if keys:
            raise ValueError(
                f"{name}: {min(keys)} {problem} ({len(keys)} such weights); is it the file of "
                "another network?"
            )
    model.load_state_dict(state, assign=True)


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
