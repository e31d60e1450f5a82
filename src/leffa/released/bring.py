"""Published weights brought to this machine, after saying what that costs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

from leffa.released import direct, hub
from leffa.released.catalogue import Released
from leffa.released.files import RemoteFile


class Store(Protocol):
    """Where weights lie: the modules `hub` and `direct`."""

    def plan(self, entry: Released) -> list[RemoteFile]: ...
    def fetch(self, entry: Released, files: list[RemoteFile]) -> None: ...
    def where(self, entry: Released) -> dict[str, Path]: ...
    def files_of(self, entry: Released) -> list[tuple[str, Path]]: ...
    def is_intact(self, path: Path) -> bool | None: ...
    def remove(self, entry: Released) -> list[Path]: ...
    def adopt(self, entry: Released, source: Path) -> None: ...


def store(entry: Released) -> Store:
    """What keeps these weights."""
    return cast(Store, direct if entry.urls else hub)


def is_here(entry: Released) -> bool:
    """Whether all of its files are on this machine; asks nobody."""
    try:
        return bool(store(entry).where(entry))
    except ValueError:
        return False


def bring(entries: Sequence[Released], tell: Callable[[str], None]) -> None:
    """Fetch those that are not here. Size and licence of all are told before the first begins.

    Raises:
        ValueError: one cannot be fetched.
    """
    missing = [entry for entry in entries if not is_here(entry)]
    plans = [store(entry).plan(entry) for entry in missing]
    for entry, files in zip(missing, plans, strict=True):
        tell(f"{entry.name}: {_sizes(files)}, from {', '.join(entry.parts) or 'the web'}")
        tell(f"{entry.name}: {entry.licence}")
    for entry, files in zip(missing, plans, strict=True):
        store(entry).fetch(entry, files)
        tell(f"{entry.name}: fetched, and what its hashes say")


def _sizes(files: Sequence[RemoteFile]) -> str:
    whole, missing = (
        sum(file.size for file in some) / 1e9
        for some in (files, [file for file in files if not file.here])
    )
    return f"{len(files)} files, {whole:.1f} GB, of which {missing:.1f} GB are to be fetched"
