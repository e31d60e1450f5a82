"""Whether a state dict fits: every key has a place, and every place a key."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor


def check_state(
    source: str | Path, state: Mapping[str, Tensor], places: Mapping[str, Tensor]
) -> None:
    """Compare what a file holds with what a network wants, by the same names.

    Raises:
        ValueError: see `refuse`.
    """
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
