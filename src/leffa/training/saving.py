"""Checkpoint files that are whole or not there at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary name, forces it to the disk, then renames.

    Nothing is held in memory twice, and whatever ends the process, the files that had their names
    before are untouched.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: it could not be written, for instance to a full disk.
        """
        write_whole(Path(path), lambda file: _save(checkpoint, file))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint where it is needed, from the disk: each process of a node would hold
        the weights, their average and the optimiser's moments otherwise."""
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that gets its name when it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(
            f"{path}: could not be written ({error.strerror or error}); what was saved before it "
            "is intact: free some space, then go on with resume=auto"
        ) from error
    _sync_folder(path.parent)


def link(path: Path, name: Path) -> None:
    """Give a file a second name, replacing what had it; a copy where the disk knows no links."""
    unfinished = name.with_name(f"{name.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(path, unfinished)
    except OSError:
        write_whole(name, lambda file: _copy(path, file))
    else:
        unfinished.replace(name)
        _sync_folder(name.parent)


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


def _copy(path: Path, file: BinaryIO) -> None:
    with path.open("rb") as source:
        while block := source.read(1 << 24):
            file.write(block)


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
