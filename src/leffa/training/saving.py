"""Checkpoint files, written atomically."""

import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from leffa.io.atomic import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary name, forces it to the disk, then renames; holds nothing twice."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: it could not be written, for instance to a full disk.
        """
        try:
            with replacing(Path(path), durable=True) as temporary, temporary.open("wb") as file:
                _save(checkpoint, file)
        except OSError as error:
            raise OSError(
                f"{error}; what was saved before it is intact: free some space, then go on with "
                "resume=auto"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint where it is needed, from the disk: each process of a node would hold
        the weights, their average and the optimiser's moments otherwise."""
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


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


class _Writer:
    """Remembers the first error of a file instead of raising it.

    torch's zip writer ends the process when a write fails below it.
    """

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


def _save(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    writer = _Writer(file)
    torch.save(checkpoint, writer)  # type: ignore[arg-type]
    if writer.error is not None:
        raise writer.error
