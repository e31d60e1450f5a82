"""Published weights in the cache of Hugging Face's hub: fetched, found, checked.

`huggingface_hub` does the work, so its cache is shared with other programs, and its settings hold:
HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, a token. A file's content lies in `blobs/` under the name of
its hash (SHA256 of large files, git's of small ones), which is how it is checked without a network.
"""

import contextlib
import hashlib
import os
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import WeakFileLock
from huggingface_hub.utils import tqdm as _Bar

from leffa.io.atomic import replacing, write_text
from leffa.io.files import sha256_of
from leffa.io.terminal import first_line
from leffa.released.catalogue import Released
from leffa.released.files import RemoteFile, not_here

_BRANCH = "main"
_SHA256, _SHA1 = 64, 40  # digits


def room() -> tuple[Path, str]:
    """The folder of all weights, and the variable of the environment that moves it."""
    return Path(constants.HF_HUB_CACHE), "HF_HOME"


class _NoBar(_Bar):  # type: ignore[misc,unused-ignore]
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "disable": True})


def plan(entry: Released) -> list[RemoteFile]:
    """What `fetch` would fetch, and what is here of it; asks the hub.

    Raises:
        ValueError: the weights are not on the hub, it cannot be reached, or it lacks a file.
    """
    if entry.by_hand is not None:
        raise ValueError(f"{entry.name}: is not on the hub; get it by hand: {entry.by_hand}")
    files: list[RemoteFile] = []
    for repository, patterns in entry.parts.items():
        listed = _ask(entry, repository, dry_run=True, tqdm_class=_NoBar)
        for pattern in patterns:
            if not any(fnmatch(info.filename, pattern) for info in listed):
                raise ValueError(
                    f"{entry.name}: {repository} has no {pattern}, which it had on {entry.seen}"
                )
        files += [
            RemoteFile(repository, info.filename, info.file_size, info.is_cached) for info in listed
        ]
    return files


def fetch(entry: Released, files: list[RemoteFile]) -> None:
    """Fetch what `plan` lists and is not here; files that are complete stay when it is killed.

    Raises:
        ValueError: the hub cannot be reached, or a file does not match its hash;
            then it is removed.
    """
    missing = [file for file in files if not file.here]
    for repository in entry.parts:
        _remove_leftovers(repository)
        _ask(entry, repository)
    folders = where(entry)
    wrong = [file for file in missing if is_intact(folders[file.repository] / file.path) is False]
    for file in wrong:
        place = folders[file.repository] / file.path
        place.resolve().unlink()  # the content; elsewhere in the cache it would be as wrong
        place.unlink(missing_ok=True)
    if wrong:
        raise ValueError(
            f"{entry.name}: {wrong[0].path} does not match its hash ({len(wrong)} such files); "
            "removed: try again"
        )


def where(entry: Released) -> dict[str, Path]:
    """The folder of each repository in the cache; needs no network.

    Raises:
        ValueError: not all of its files are there.
    """
    if entry.by_hand is not None:
        raise ValueError(f"{entry.name}: is not on the hub; get it by hand: {entry.by_hand}")
    folders = {}
    for repository, patterns in entry.parts.items():
        try:
            folder = Path(
                snapshot_download(repository, allow_patterns=list(patterns), local_files_only=True)
            )
        except OSError:  # not there, or not all of it
            folder = Path()
        if folder == Path() or not all(any(folder.glob(pattern)) for pattern in patterns):
            raise not_here(entry, Path(constants.HF_HUB_CACHE))
        folders[repository] = folder
    return folders


def files_of(entry: Released) -> list[tuple[str, Path]]:
    """(repository, path) of each of its files in the cache; raises ValueError as `where` does."""
    return [
        (repository, path)
        for repository, folder in where(entry).items()
        for pattern in entry.parts[repository]
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    ]


def is_intact(path: Path) -> bool | None:
    """Whether a file of the cache is what the hash that names its content says; None where it has
    none: without symbolic links (Windows) the cache keeps the file itself."""
    expected = path.resolve().name
    if len(expected) == _SHA256:
        return sha256_of(path) == expected
    if len(expected) != _SHA1:
        return None
    content = path.read_bytes()  # small: git's own files
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == expected


def adopt(entry: Released, source: Path) -> None:
    """Put files that somebody copied into the cache, where the hub's would be.

    Args:
        source: a folder with the repository's files in their places; of several repositories, with
            a folder for each, by the name after the slash.

    Raises:
        ValueError: a file is not there.
    """
    found: list[tuple[str, str, Path]] = []
    for repository, patterns in entry.parts.items():
        own = source / repository.partition("/")[2]
        folder = own if own.is_dir() else source
        for pattern in patterns:
            paths = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
            if not paths:
                needed = f"{', '.join(patterns)} of {constants.ENDPOINT}/{repository}"
                raise ValueError(f"{entry.name}: {folder} has no {pattern}; it needs {needed}")
            found += [(repository, path.relative_to(folder).as_posix(), path) for path in paths]
    for repository in entry.parts:
        reference = _folder(repository) / "refs" / _BRANCH
        if not reference.exists():  # no commit of the hub's; it names the right one when asked
            write_text(reference, hashlib.sha1(repository.encode()).hexdigest())
    for repository, name, path in found:
        blob = _folder(repository) / "blobs" / sha256_of(path)
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            with replacing(blob) as unfinished:
                shutil.copyfile(path, unfinished)
        place = _snapshot(repository) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            place.symlink_to(os.path.relpath(blob, place.parent))
        except OSError:  # Windows, without the right to
            shutil.copyfile(blob, place)


def _snapshot(repository: str) -> Path:
    """The folder of the commit that the branch is at, as the cache knows it."""
    commit = (_folder(repository) / "refs" / _BRANCH).read_text(encoding="utf-8").strip()
    return _folder(repository) / "snapshots" / commit


def _folder(repository: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def _ask(entry: Released, repository: str, **how: Any) -> Any:
    """`snapshot_download` of an entry's files; what goes wrong is one line."""
    try:
        return snapshot_download(repository, allow_patterns=list(entry.parts[repository]), **how)
    except Exception as error:  # of its own, of its transport, of the disk
        cause = error.__cause__ or error
        reason = first_line(cause)
        command = f"leffa weights fetch {entry.name} --from DIR"
        files = ", ".join(entry.parts[repository])
        copy = f"copy its files ({files}) to a folder here and type `{command}`"
        remedy = f"rerun the same command to fetch what is missing; without a network, {copy}"
        refused = isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403)
        if refused or isinstance(cause, RepositoryNotFoundError):
            reason = "the hub does not know it, or needs a token"
            remedy = "type `hf auth login`, or set HF_TOKEN"
        if constants.HF_HUB_OFFLINE:
            reason, remedy = "HF_HUB_OFFLINE forbids the network", f"unset it, or {copy}"
        place = f"{repository} from {constants.ENDPOINT}"
        raise ValueError(f"{entry.name}: cannot fetch {place} ({reason}); {remedy}") from error


def _remove_leftovers(repository: str) -> None:
    """Delete half-written files of downloads that were killed: nobody holds their lock."""
    locks = Path(constants.HF_HUB_CACHE) / ".locks" / _folder(repository).name
    for path in (_folder(repository) / "blobs").glob("*.incomplete"):
        lock = locks / f"{path.name.partition('.')[0]}.lock"
        with contextlib.suppress(TimeoutError):  # held: another process is at it
            lock.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(lock, timeout=0.1):
                path.unlink(missing_ok=True)
