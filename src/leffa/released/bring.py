"""Fetches published weights, after saying how large they are and whose licence they have."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

from leffa.released import direct, hub
from leffa.released.catalogue import Released
from leffa.released.files import RemoteFile, check_disk, count_files


class Store(Protocol):
    """Where weights lie: the modules `hub` and `direct`."""

    def room(self) -> tuple[Path, str]: ...
    def plan(self, entry: Released) -> list[RemoteFile]: ...
    def fetch(self, entry: Released, files: list[RemoteFile]) -> None: ...
    def where(self, entry: Released) -> dict[str, Path]: ...
    def files_of(self, entry: Released) -> list[tuple[str, Path]]: ...
    def is_intact(self, path: Path) -> bool | None: ...
    def adopt(self, entry: Released, source: Path) -> None: ...


def store(entry: Released) -> Store:
    return cast(Store, direct if entry.urls else hub)


def is_here(entry: Released) -> bool:
    """Whether all of its files are on this machine; needs no network."""
    try:
        return bool(store(entry).where(entry))
    except ValueError:
        return False


def bring(entries: Sequence[Released], tell: Callable[[str], None]) -> None:
    """Fetch those that are not here. Sizes and licences of all are told before the first begins.

    Raises:
        ValueError: too little disk for all, or one cannot be fetched.
    """
    missing = [entry for entry in entries if not is_here(entry)]
    plans = [store(entry).plan(entry) for entry in missing]
    for entry, files in zip(missing, plans, strict=True):
        tell(f"{entry.name}: {_sizes(files)}, from {', '.join(entry.parts) or 'the web'}")
        tell(f"{entry.name}: {entry.licence}")
    for kept in (cast(Store, hub), cast(Store, direct)):
        theirs = [entry.name for entry in missing if store(entry) is kept]
        sizes = {  # what several share is fetched once
            (file.repository, file.path): file.size
            for entry, files in zip(missing, plans, strict=True)
            for file in files
            if store(entry) is kept and not file.here
        }
        if theirs:
            folder, variable = kept.room()
            needed = sum(sizes.values())
            free = check_disk(", ".join(theirs), needed, folder, variable)
            tell(
                f"to fetch: {needed / 1e9:.1f} GB, to {folder}, which has {free / 1e9:.0f} GB free"
            )
    for entry, files in zip(missing, plans, strict=True):
        store(entry).fetch(entry, files)
        tell(f"{entry.name}: fetched; all hashes match")


def _sizes(files: Sequence[RemoteFile]) -> str:
    size = f"{count_files(files)}, {sum(file.size for file in files) / 1e9:.1f} GB"
    here = sum(file.size for file in files if file.here)
    return f"{size}, of which {here / 1e9:.1f} GB are here" if here else size
