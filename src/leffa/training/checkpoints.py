"""Checkpoints that train.py writes: find one, read it, load its weights into a module."""

import logging
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from leffa.weights_file import read_pickle

log = logging.getLogger(__name__)

LAST, BEST = "last.ckpt", "best.ckpt"
EMA_STATE = "ema"  # the key of the averaged weights in a checkpoint
Weights = Literal["raw", "ema"]


def find_checkpoint(checkpoint: Path) -> Path:
    """The file itself, or the last checkpoint below the folder of a run."""
    if checkpoint.is_dir():
        found = sorted(checkpoint.glob(f"**/{LAST}"))
        if len(found) > 1:
            raise ValueError(
                f"ckpt={checkpoint}: holds {len(found)} runs, first {found[0]}: say which"
            )
        checkpoint = found[0] if found else checkpoint / "checkpoints" / LAST
    if not checkpoint.is_file():
        raise FileNotFoundError(f"ckpt={checkpoint}: no such checkpoint")
    return checkpoint


def resume_point(folder: Path) -> Path | None:
    """The newest checkpoint in a folder that can be read; None where there is none.

    Raises:
        ValueError: there are checkpoints, and none of them can be read.
    """
    numbered = sorted(folder.glob("step_*.ckpt"), key=saved_step, reverse=True)
    candidates = [path for path in (folder / LAST, *numbered, folder / BEST) if path.is_file()]
    damaged = []
    for path in candidates:
        try:
            read_checkpoint(path)
        except ValueError as error:
            damaged.append(path.name)
            log.warning("%s; going back to the one before", str(error).removeprefix("ckpt="))
        else:
            if damaged:
                log.warning("going on from %s, since %s cannot be read", path, ", ".join(damaged))
            return path
    if damaged:
        raise ValueError(
            f"{folder}: none of its checkpoints can be read ({', '.join(damaged)}); "
            "remove the folder to start from the beginning"
        )
    return None


def start_point(resume: str | None, folder: Path) -> tuple[Path | None, int]:
    """The checkpoint from which a run goes on, and its step; (None, 0) for a new run.

    Args:
        resume: None for a new run, "auto" for the newest checkpoint in `folder` if there is one, or
            a checkpoint file.
        folder: of the run's checkpoints.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it cannot be read, or a new run would overwrite an earlier one.
    """
    if resume is None:
        if any(folder.glob("*.ckpt")):
            raise ValueError(
                f"{folder}: holds the checkpoints of an earlier run: add resume=auto to go on with "
                "it, or give another paths.output_dir"
            )
        return None, 0
    path = resume_point(folder) if resume == "auto" else Path(resume)
    if path is None:
        return None, 0
    if not path.is_file():
        raise FileNotFoundError(f"resume={resume}: no such checkpoint")
    content = read_checkpoint(path)
    if not content.get("optimizer_states"):
        raise ValueError(
            f"resume={path}: holds weights alone, no optimiser to go on with; "
            f"start_from={path} begins a run with these weights"
        )
    return path, content["global_step"]


def saved_step(path: Path) -> int:
    """The optimiser step in the name of a numbered checkpoint; -1 where it has none."""
    number = path.stem.removeprefix("step_")
    return int(number) if number.isdigit() else -1


def weights_of(
    content: dict[str, Any], weights: Weights | None, checkpoint: Path
) -> dict[str, Any]:
    """The weights of a checkpoint: as trained ("raw") or their running average ("ema").

    Args:
        weights: None for the average where the checkpoint has one.

    Raises:
        ValueError: the average is asked for and there is none, or an unknown kind.
    """
    if weights not in (None, "raw", "ema"):
        raise ValueError(f"weights={weights}: is neither ema nor raw")
    average = content.get(EMA_STATE)
    if weights == "ema" and average is None:
        raise ValueError(
            f"ckpt={checkpoint}: has no averaged weights: it was trained without callbacks=ema"
        )
    if weights == "raw" or average is None:
        return content["state_dict"]
    return content["state_dict"] | average["weights"]


def load_trained(module: nn.Module, state: dict[str, Tensor], checkpoint: Path) -> None:
    """Load every trained weight; a checkpoint leaves out only what is frozen.

    Args:
        module: holds the model as `model`, as a `PersonGenerationModule` does.
    """
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
    config = content.get("config") if isinstance(content, dict) else None
    if not config or not isinstance(config, dict) or "state_dict" not in content:
        raise ValueError(
            f"ckpt={checkpoint}: has no configuration; it is not a checkpoint written by train.py"
        )
    return content
