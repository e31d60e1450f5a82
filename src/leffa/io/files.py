"""Locks and digests of files."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def exclusive_lock(path: Path, patience: float = -1) -> Iterator[bool]:
    """Keep out other processes that lock the same file; a killed one leaves no lock behind.

    Args:
        path: the lock file; its folder is made.
        patience: seconds to wait for another process; below 0, as long as it takes.

    Yields:
        Whether this process has the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
