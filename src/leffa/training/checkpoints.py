"""Checkpoint files: written atomically, and the one from which a run resumes."""

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from leffa.inference.checkpoints import LAST, read_checkpoint
from leffa.inference.loaded import read_inputs
from leffa.io.atomic import replacing
from leffa.models.export import InputSpec

log = logging.getLogger(__name__)

BEST = "best.ckpt"


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint from which a run resumes, read once."""

    path: Path
    step: int
    config: dict[str, Any]  # of the run that wrote it
    inputs: InputSpec | None


def resume_point(resume: str | None, folder: Path) -> ResumePoint | None:
    """The checkpoint from which a run resumes; None for a new run.

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
                f"{folder}: holds the checkpoints of an earlier run: add resume=auto to continue "
                "it, or give another paths.output_dir"
            )
        return None
    if resume == "auto":
        found = _newest(folder)
        if found is None:
            return None
        path, content = found
    else:
        path = Path(resume)
        if not path.is_file():
            raise FileNotFoundError(f"resume={resume}: no such checkpoint")
        content = read_checkpoint(path)
    if not content.get("optimizer_states"):
        raise ValueError(
            f"resume={path}: holds weights alone, no optimiser state to resume from; "
            f"start_from={path} begins a run with these weights"
        )
    return ResumePoint(path, content["global_step"], content["config"], read_inputs(content, path))


def _newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a folder that can be read, and its content."""
    numbered = sorted(folder.glob("step_*.ckpt"), key=saved_step, reverse=True)
    damaged: list[str] = []
    for path in (folder / LAST, *numbered, folder / BEST):
        if not path.is_file():
            continue
        try:
            content = read_checkpoint(path)
        except ValueError as error:
            damaged.append(path.name)
            log.warning("%s; falling back to the previous one", str(error).removeprefix("ckpt="))
            continue
        if damaged:
            log.warning("resuming from %s, since %s cannot be read", path, ", ".join(damaged))
        return path, content
    if damaged:
        raise ValueError(
            f"{folder}: none of its checkpoints can be read ({', '.join(damaged)}); "
            "remove the folder to start from the beginning"
        )
    return None


def saved_step(path: Path) -> int:
    """The optimiser step in the name of a numbered checkpoint; -1 where it has none."""
    number = path.stem.removeprefix("step_")
    return int(number) if number.isdigit() else -1


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary name, forces it to the disk, then renames."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; raises OSError where it cannot, for instance on a full disk."""
        try:
            with replacing(Path(path), durable=True) as temporary, temporary.open("wb") as file:
                writer = _Writer(file)
                torch.save(checkpoint, writer)  # type: ignore[arg-type]
                if writer.error is not None:
                    raise writer.error
        except OSError as error:
            raise OSError(
                f"{error}; what was saved before it is intact: free some space, then continue with "
                "resume=auto"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Map it from the disk: else each process of a node would hold all of it in memory."""
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


class _Writer:
    """Keeps the first error instead of raising it: below torch's zip writer it ends the process."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None: ...


def link(path: Path, name: Path) -> None:
    """Give a file a second name, replacing what had it; a copy where the disk knows no links."""
    if name.exists() and name.samefile(path):
        return
    if name.is_symlink():
        name.unlink()  # it is the name that is replaced, not what it points to
    with replacing(name, durable=True) as temporary:
        temporary.unlink()
        try:
            os.link(path, temporary)
        except (OSError, AttributeError):
            shutil.copyfile(path, temporary)
