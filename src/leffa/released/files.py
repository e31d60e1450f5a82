"""What is known of a file before it is fetched, whether it lies on the hub or elsewhere."""

import shutil
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path

from leffa.released.catalogue import Released


@dataclass(frozen=True)
class RemoteFile:
    """A published file, and whether it is on this machine.

    Args:
        repository: of the hub; else its address.
        path: below that.
        size: in bytes.
    """

    repository: str
    path: str
    size: int
    here: bool


def check_disk(names: str, needed: int, folder: Path, variable: str) -> int:
    """The free bytes of a folder, which is made.

    Args:
        names: of the weights, for the message.
        needed: in bytes.
        variable: of the environment, which moves the folder to another disk.

    Raises:
        ValueError: there are fewer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if needed > (free := shutil.disk_usage(folder).free):
        raise ValueError(
            f"{names}: needs {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; free "
            f"some space, or set {variable} to a folder on another disk"
        )
    return free


def count_files(files: Sized) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def not_here(entry: Released, folder: Path) -> ValueError:
    """The error for weights that have not been fetched."""
    return ValueError(f"{entry.name}: is not in {folder}; type `leffa weights fetch {entry.name}`")
