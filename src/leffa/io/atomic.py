"""Atomic writes: a file or folder appears under its name when it is complete.

Until then it is `.TARGET.HOST-PID-RANDOM.unfinished` in the target's folder. What a killed process
left is removed when the same target is next written on the same machine.
"""

import functools
import json
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_WINDOWS = os.name == "nt"
SUFFIX = ".unfinished"
_LONGEST = 120  # bytes of the target's name: file systems allow 255 for the whole name


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Write a file under a temporary name, which becomes `path` when the block succeeds.

    Args:
        path: its folders are made; of a symbolic link, the file that it points to is replaced.
        durable: force the file to the disk first, so that it also survives a power failure.

    Raises:
        OSError: it could not be written, for instance to a full disk; what was there stays.
    """
    temporary = _temporary(path := _resolved(path))
    temporary.touch(exist_ok=False)
    mode = temporary.stat().st_mode
    try:
        yield temporary
        if temporary.stat().st_mode != mode:
            temporary.chmod(mode)  # safetensors hides its files from everybody else
        if durable:
            _sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:  # the disk's own
            raise OSError(f"{path}: could not be written ({error.strerror})") from error
        raise
    if durable:
        _sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name, which becomes `path` when the block succeeds.

    Raises:
        FileExistsError: `path` is a file or a folder that is not empty, before or after the block.
    """
    _refuse_filled(path)
    temporary = _temporary(path := _resolved(path))
    temporary.mkdir()
    mode = temporary.stat().st_mode & 0o666
    try:
        yield temporary
        for file in temporary.rglob("*.safetensors"):
            file.chmod(mode)  # as in `replacing`
        _refuse_filled(path)
        if path.is_dir():
            path.rmdir()
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes, durable: bool = False) -> None:
    with replacing(path, durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, durable: bool = False) -> None:
    """Write UTF-8 text, its line ends as given."""
    write_bytes(path, text.encode(), durable)


def write_json(path: Path, content: Any, indent: int | None = 2, durable: bool = False) -> None:
    write_text(path, json.dumps(content, indent=indent) + "\n", durable)


def _refuse_filled(path: Path) -> None:
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: there already; give another name, or delete it")


def _resolved(path: Path) -> Path:
    """The target itself, not a link to it; its folder made, dead processes' leftovers removed."""
    path = Path(os.path.realpath(path)) if path.is_symlink() else path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in _leftovers(path.parent).pop(_shortened(path.name), ()):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    return path


def _temporary(path: Path) -> Path:
    owner = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{_shortened(path.name)}.{owner}{SUFFIX}")


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST:
        return name
    return f"{encoded[: _LONGEST - 9].decode(errors='ignore')}-{zlib.crc32(encoded):08x}"


@functools.cache
def _host() -> str:
    """Whatever gives out process ids: machines and containers may share a name and a disk."""
    identity = ""
    with suppress(OSError):  # not Linux
        identity += Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
        identity += str(Path("/proc/self/ns/pid").readlink())
    name = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32]
    return f"{name}{zlib.crc32(identity.encode()):08x}"


_OWNER = re.compile(
    rf"\.(?P<target>.*)\.(?P<host>[A-Za-z0-9]+)-(?P<pid>[0-9]+)-[0-9a-f]{{8}}{re.escape(SUFFIX)}"
)


@functools.lru_cache(maxsize=256)
def _leftovers(folder: Path) -> dict[str, list[Path]]:
    """What dead processes left in a folder, by target; read once, since it may be large."""
    found: dict[str, list[Path]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            owner = _OWNER.fullmatch(entry.name)
            if owner and owner["host"] == _host() and not _is_alive(int(owner["pid"])):
                found.setdefault(owner["target"], []).append(folder / entry.name)
    return found


def _is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; where that cannot be asked, it does."""
    if _WINDOWS:
        return True  # there, asking as below ends the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # another user's
    return True


def _sync(path: Path) -> None:
    """Force a file, or a rename in a folder, to the disk."""
    if path.is_dir() and _WINDOWS:
        return  # cannot open a folder, and renames durably
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
