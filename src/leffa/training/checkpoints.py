"""Checkpoints that train.py writes: find one, read it, load its weights into a module."""

from pathlib import Path
from typing import Any

from torch import Tensor

from leffa.models.checkpoints import read_pickle
from leffa.training.module import PersonGenerationModule


def find_checkpoint(checkpoint: Path) -> Path:
    """The file itself, or the last checkpoint below the folder of a run."""
    if checkpoint.is_dir():
        found = sorted(checkpoint.glob("**/last.ckpt"))
        if len(found) > 1:
            raise ValueError(
                f"ckpt={checkpoint}: holds {len(found)} runs, first {found[0]}: say which"
            )
        checkpoint = found[0] if found else checkpoint / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        raise FileNotFoundError(f"ckpt={checkpoint}: no such checkpoint")
    return checkpoint


def load_trained(
    module: PersonGenerationModule, state: dict[str, Tensor], checkpoint: Path
) -> None:
    """Load every trained weight; a checkpoint leaves out only what is frozen."""
    wanted = {key for key, parameter in module.named_parameters() if parameter.requires_grad}
    if foreign := sorted(state.keys() - module.state_dict().keys()):
        raise ValueError(
            f"ckpt={checkpoint}: is of another model: "
            f"{len(foreign)} unknown weights, first {foreign[0]}"
        )
    if missing := sorted(wanted - state.keys()):
        raise ValueError(
            f"ckpt={checkpoint}: is of another model: "
            f"{len(missing)} weights missing, first {missing[0]}"
        )
    try:
        module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f"ckpt={checkpoint}: is of another model: {str(error).splitlines()[1].strip()}"
        ) from error


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """What a .ckpt file of ours holds: "state_dict", "config", the trainer's counters.

    Raises:
        ValueError: the file cannot be read, or train.py did not write it.
    """
    try:
        content = read_pickle(checkpoint)
    except ValueError as error:
        raise ValueError(f"ckpt={error}") from error
    if not isinstance(content, dict) or not content.get("config") or "state_dict" not in content:
        raise ValueError(
            f"ckpt={checkpoint}: has no configuration; it is not a checkpoint written by train.py"
        )
    return content
