"""Several long commands at the same time, one thread each, under one set of progress bars.

What a command prints goes to its log file, so the bars stay alone on the screen.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leffa.io.processes import interrupts_left_to_parent
from leffa.io.progress import Bar, progress_bars
from leffa.training.curves import CSV_LOG, read_curves

POLL = 0.5  # seconds between two looks at the processes
LAST_LINES = 8  # of the log of a job that failed


@dataclass(frozen=True)
class Job:
    """A command to run in a process of its own."""

    title: str  # of its progress bar
    total: int  # how much there is to do
    arguments: Sequence[str]  # of the Python interpreter
    log: Path  # for all that the job prints
    done: Callable[[], int]  # says how much of it is done, such as `steps_done`

    def start(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, *self.arguments]
        with self.log.open("wb") as log, interrupts_left_to_parent():
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def check(self, exit_code: int) -> None:
        """Raise ChildProcessError, with the last lines of the log, unless the exit code is 0."""
        if exit_code != 0:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            tail = "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
            raise ChildProcessError(
                f"{self.title} failed (exit code {exit_code}); the end of {self.log}:\n{tail}"
            )


def run_jobs(jobs: Sequence[Job], at_a_time: int = 2) -> None:
    """Run all jobs, in order. The first one that fails ends the others, as does Ctrl-C.

    Raises:
        ChildProcessError: a job failed; the message has the last lines of its log.
    """
    waiting = list(jobs)
    running: dict[subprocess.Popen[bytes], tuple[Job, Bar]] = {}
    with progress_bars() as add:
        try:
            while waiting or running:
                while waiting and len(running) < at_a_time:
                    job = waiting.pop(0)
                    running[job.start()] = job, add(job.title, job.total)
                time.sleep(POLL)
                for process, (job, bar) in list(running.items()):
                    ended = process.poll()
                    bar(job.total if ended == 0 else job.done())
                    if ended is not None:
                        job.check(ended)
                        del running[process]
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()


def steps_done(run: Path) -> int:
    """How many steps a training in this folder has logged."""
    try:
        points = read_curves(run / CSV_LOG).get("train/diffusion", [])
    except (ValueError, TypeError, KeyError):
        return 0  # a line is just being written
    return int(points[-1][0]) + 1 if points else 0


def pictures_done(evaluation: Path) -> int:
    return sum(1 for _ in (evaluation / "images").glob("*.png"))
