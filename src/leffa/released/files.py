"""What is known of a file before it is fetched, whether it lies on the hub or elsewhere."""

import shutil
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


def check_disk(name: str, needed: int, folder: Path, variable: str) -> None:
    """Raise ValueError where a folder, which is made, has less than `needed` bytes free.

    Args:
        variable: of the environment, which moves the folder to another disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if needed > (free := shutil.disk_usage(folder).free):
        raise ValueError(
            f"{name}: needs {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            f"make room, or set {variable} to a folder on another disk"
        )


def not_here(entry: Released, folder: Path) -> ValueError:
    """The error for weights that have not been fetched."""
    return ValueError(f"{entry.name}: is not in {folder}; type `leffa weights fetch {entry.name}`")
