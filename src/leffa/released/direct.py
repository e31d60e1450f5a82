"""Published weights that lie outside the hub, in torch's cache, where torchvision looks as well.

A file's name ends with the first digits of its SHA256, by which it is checked.
"""

import re
import shutil
import sys
from pathlib import Path

from leffa.io.atomic import replacing
from leffa.io.files import sha256_of
from leffa.released.catalogue import Released
from leffa.released.files import RemoteFile, not_here

_HASH = re.compile(r"-([0-9a-f]{8,})\.\w+$")


def room() -> tuple[Path, str]:
    """The folder of all weights, and the variable of the environment that moves it."""
    return _folder(), "TORCH_HOME"


def plan(entry: Released) -> list[RemoteFile]:
    """What `fetch` would fetch, and what is here of it; needs no network."""
    return [
        RemoteFile(url, _place(url).name, size, _place(url).is_file())
        for url, size in entry.urls.items()
    ]


def fetch(entry: Released, files: list[RemoteFile]) -> None:
    """Fetch what `plan` lists and is not here; files that are complete stay when it is killed.

    Raises:
        ValueError: an address cannot be reached, or a file is not what its hash
            says; then it is not kept.
    """
    import torch

    for file in (file for file in files if not file.here):
        place = _place(file.repository)
        for leftover in place.parent.glob(f"{place.name}.*.partial"):
            leftover.unlink(missing_ok=True)
        try:
            torch.hub.download_url_to_file(
                file.repository, str(place), _digits(place), sys.stderr.isatty()
            )
        except (OSError, RuntimeError) as error:  # its transport's, and a wrong hash
            raise ValueError(
                f"{entry.name}: cannot fetch {file.repository} ({error}); rerun the same "
                "command to fetch what is missing; without a network, copy the files to this "
                f"machine and type `leffa weights fetch {entry.name} --from DIR`"
            ) from error


def where(entry: Released) -> dict[str, Path]:
    """The folder; raises ValueError where not all of its files are there."""
    if not all(_place(url).is_file() for url in entry.urls):
        raise not_here(entry, _folder())
    return {"": _folder()}


def files_of(entry: Released) -> list[tuple[str, Path]]:
    """(address, path) of each of its files; raises ValueError as `where` does."""
    where(entry)
    return [(url, _place(url)) for url in entry.urls]


def is_intact(path: Path) -> bool | None:
    """Whether a file is what the hash in its name says."""
    return sha256_of(path).startswith(_digits(path))


def adopt(entry: Released, source: Path) -> None:
    """Copy files that somebody copied to where torch looks.

    Raises:
        ValueError: a file is not there, or does not match its hash.
    """
    for url in entry.urls:
        place = _place(url)
        copy = source / place.name
        if not copy.is_file():
            raise ValueError(f"{entry.name}: {source} has no {place.name}")
        if not is_intact(copy):
            raise ValueError(f"{entry.name}: {copy} does not match its hash; copy it again")
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as unfinished:
            shutil.copyfile(copy, unfinished)


def _folder() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _place(url: str) -> Path:
    return _folder() / url.rpartition("/")[2]


def _digits(path: Path) -> str:
    found = _HASH.search(path.name)
    assert found is not None, path
    return found[1]
