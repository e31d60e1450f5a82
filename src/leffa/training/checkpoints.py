"""The checkpoint from which a run goes on."""

import logging
from pathlib import Path

from leffa.inference.checkpoints import LAST, read_checkpoint

log = logging.getLogger(__name__)

BEST = "best.ckpt"


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
