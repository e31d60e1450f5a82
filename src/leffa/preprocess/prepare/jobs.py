"""Many small files, made in parallel: each appears whole or not at all, and none is made twice."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from leffa.io.atomic import write_bytes
from leffa.io.processes import ProcessPool

Progress = Callable[[int, int], None]  # (done, total)

_CHUNK = 8


class Job(Protocol):
    """One file to be made."""

    @property
    def target(self) -> Path: ...

    def make(self) -> bytes:
        """The content; raises ValueError or OSError, naming the input, where it cannot be made."""
        ...


def run_jobs(jobs: Sequence[Job], workers: int, progress: Progress | None) -> list[str]:
    """Make the files that are not there yet; a killed run is completed by the next.

    Args:
        jobs: with targets of their own.
        workers: processes; the files do not depend on it.
        progress: called with (files there, files in all).

    Returns:
        Why files could not be made; the others are made all the same.
    """
    missing = [job for job in jobs if not job.target.exists()]
    for folder in {job.target.parent for job in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    there = len(jobs) - len(missing)
    failures = []
    for done, failure in enumerate(_run(missing, workers), start=there + 1):
        if failure is not None:
            failures.append(failure)
        if progress is not None:
            progress(done, len(jobs))
    return failures


def _run(jobs: Sequence[Job], workers: int) -> Iterable[str | None]:
    if workers <= 1 or len(jobs) < 2 * _CHUNK:
        yield from map(_do, jobs)
        return
    with ProcessPool(workers) as pool:
        yield from pool.map(_do, jobs, chunksize=_CHUNK)


def _do(job: Job) -> str | None:
    try:
        write_bytes(job.target, job.make())
    except (ValueError, OSError, SyntaxError) as error:
        return str(error)
    return None
