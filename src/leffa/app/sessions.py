"""What belongs to one visitor: a folder, the images made in it, and the jobs that are running.

A session ends when its page is closed, or when nothing has been asked of it for a long time (a
program may leave without a word): its jobs are stopped and its files are deleted. Gradio's own
`delete_cache` goes by age alone, and its `State` outlives the page by an hour.
"""

import contextlib
import itertools
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from leffa.app.inference import Result
from leffa.app.maps import Maps

MOST_PICTURES = 60  # of a task
MOST_BYTES = 500_000_000  # the images of a task, and what each was made of


class Session:
    """The files and the jobs of one visitor, in a folder of their own, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: dict[str, list[Result]] = {}  # by task, the newest last
        self.maps: dict[str, tuple[tuple[Any, ...], Maps]] = {}  # by task: of which image, files
        self.mapping = threading.Lock()  # held while `maps` are made, and while they are copied
        self.uploads: dict[Path, object] = {}  # in gradio's folder, as they were when seen last
        self.used = time.monotonic()
        self._running: dict[str, threading.Event] = {}  # by task, what stops it
        self._jobs = itertools.count(1)
        self._lock = threading.Lock()

    def new_folder(self) -> Path:
        folder = self.folder / f"{next(self._jobs):04d}"
        folder.mkdir(parents=True)
        return folder

    def receive(self, path: Path) -> None:
        """An upload is this session's, to be deleted with it."""
        self.uploads[path] = _identity(path)

    def keep(self, result: Result, task: str) -> None:
        """Add an image; the oldest go when there are too many, or their files too large."""
        results = self.results.setdefault(task, [])
        results.append(result)
        sizes = [_folder_bytes(each.picture.parent) for each in results]
        while len(sizes) > MOST_PICTURES or (len(sizes) > 1 and sum(sizes) > MOST_BYTES):
            sizes.pop(0)
            shutil.rmtree(results.pop(0).picture.parent, ignore_errors=True)

    @contextlib.contextmanager
    def running(self, task: str) -> Iterator[threading.Event]:
        """While an image is made: the event that stops it."""
        stop = self._running[task] = threading.Event()
        try:
            yield stop
        finally:
            stop.set()
            with self._lock:
                if self._running.get(task) is stop:
                    del self._running[task]

    @property
    def is_working(self) -> bool:
        return bool(self._running)

    def stop(self, task: str | None = None) -> bool:
        """Stop the job of a task, or all; whether there was any."""
        with self._lock:
            found = [event for name, event in self._running.items() if task in (None, name)]
        for event in found:
            event.set()
        return bool(found)

    def close(self, needed: Set[Path] = frozenset()) -> None:
        """Stop, and delete every file.

        Gradio keeps equal uploads in one place. One that was uploaded once more since this session
        saw it stays: it is of somebody who waits in the queue.

        Args:
            needed: uploads that another session has too.
        """
        self.stop()
        for path, identity in tuple(self.uploads.items()):
            if path not in needed and _identity(path) == identity:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.results.clear()


class Sessions:
    """All visitors of a server; `root` is the folder of their folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def of(self, key: str | None) -> Session:
        """The session that gradio knows by this key; without a key, a new one."""
        with self._lock:
            # A folder's name must tell nothing, and must not come from outside.
            key = key or secrets.token_hex(16)
            if key not in self._sessions:
                self._sessions[key] = Session(self.root / secrets.token_hex(16))
            found = self._sessions[key]
            found.used = time.monotonic()
            return found

    def close(self, key: str | None) -> None:
        """End a session; one that never began is none."""
        with self._lock:
            session = self._sessions.pop(key, None) if key else None
            others = tuple(self._sessions.values())
        if session is not None:  # deleting takes a while, and others are not to wait for it
            session.close({path for other in others for path in tuple(other.uploads)})

    def close_idle(self, seconds: float) -> None:
        """End the sessions of which nothing was asked for so long, and which make nothing."""
        before = time.monotonic() - seconds
        for key, session in list(self._sessions.items()):
            if session.used <= before and not session.is_working:
                self.close(key)

    def close_all(self) -> None:
        for key in list(self._sessions):
            self.close(key)


def _identity(path: Path) -> object:
    """What tells a file from a later one of the same name; None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _folder_bytes(folder: Path) -> int:
    """The size of a job's folder; a file that other folders have too is counted in each."""
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:  # the session ends meanwhile
        return 0
