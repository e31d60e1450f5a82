"""Several long jobs at the same time, each in a process of its own, under one set of progress bars.

A job's own output goes to its log file, so the bars stay alone on the screen. Where the output is
no terminal, each job has a line a minute instead. The first job that
fails ends the others.
"""

import logging
import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from leffa.io.processes import interrupts_left_to_parent

Tell = Callable[[int, str], None]  # (done, note)

POLL = 0.2  # seconds between two looks at the processes
EVERY = 60.0  # seconds between two lines of a log file
LAST_LINES = 8  # of the log of a job that failed


@dataclass(frozen=True)
class Job:
    """A function to run in a process of its own.

    Args:
        title: of its progress bar.
        total: how much there is to do; 0 where that is not known.
        task: a function of a module, called as `task(tell, *arguments)`; it tells what is done.
        arguments: picklable.
        log: file for all that the job prints and logs.
        pictures: folder where each PNG is one thing done, for a task that tells nothing itself.
    """

    title: str
    total: int
    task: Callable[..., None]
    arguments: tuple[Any, ...]
    log: Path
    pictures: Path | None = None


def run_jobs(jobs: Sequence[Job], at_a_time: int = 2) -> None:
    """Run all jobs, in order.

    Args:
        at_a_time: processes; 0 runs the jobs one by one in this process, without logs, for a
            debugger.

    Raises:
        ChildProcessError: a job failed; the message has the last lines of its log.
    """
    with progress_bars() as bars:
        rows = [add_bar(bars, job.title, job.total) for job in jobs]
        if at_a_time == 0:
            _run_here(jobs, bars, rows)
        else:
            _run_in_processes(jobs, bars, rows, at_a_time)


def _run_here(jobs: Sequence[Job], bars: Progress, rows: Sequence[TaskID]) -> None:
    for job, row in zip(jobs, rows, strict=True):
        bars.start_task(row)
        job.task(partial(_tell_bar, bars, row), *job.arguments)
        complete(bars, row, job.total)


def _run_in_processes(
    jobs: Sequence[Job], bars: Progress, rows: Sequence[TaskID], at_a_time: int
) -> None:
    # Fresh processes: a copy of one that runs threads (torch) can hang.
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    waiting = list(enumerate(jobs))
    running: dict[int, BaseProcess] = {}
    told = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                index, job = waiting.pop(0)
                running[index] = context.Process(target=_child, args=(news, index, job))
                with interrupts_left_to_parent():
                    running[index].start()
                bars.start_task(rows[index])
            _show_news(news, bars, rows)
            if not bars.console.is_terminal and time.monotonic() - told > EVERY:
                told = time.monotonic()
                _write_lines(bars)
            for index, process in list(running.items()):
                _show_pictures(jobs[index], bars, rows[index])
                if process.exitcode is not None:
                    _check(jobs[index], process.exitcode)
                    complete(bars, rows[index], jobs[index].total)
                    del running[index]
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def progress_bars() -> Progress:
    """One look for all bars of the demo; a task has the field `note`."""
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )


def add_bar(bars: Progress, title: str, total: int) -> TaskID:
    """A bar whose clock stands still until `bars.start_task`; total 0 is an unknown one."""
    return bars.add_task(title, total=total or None, start=False, note="")


def complete(bars: Progress, row: TaskID, total: int) -> None:
    """Fill a bar, also one of unknown total."""
    bars.update(row, total=total or 1, completed=total or 1)


def _write_lines(bars: Progress) -> None:
    """The bars that move, as text."""
    for task in bars.tasks:
        if task.started and not task.finished and task.total and task.completed:
            seconds = task.elapsed or 0.0
            left = seconds / task.completed * (task.total - task.completed) / 60
            title, done = task.description, f"{task.completed:.0f} of {task.total:.0f}"
            bars.console.print(f"  {title}: {done}, {left:.0f} min left", highlight=False)


def _tell_bar(bars: Progress, row: TaskID, done: int, note: str) -> None:
    bars.update(row, completed=done, note=note)


def _show_news(news: Any, bars: Progress, rows: Sequence[TaskID]) -> None:
    """Show what the children told; waits a moment for the first of it."""
    try:
        index, done, note = news.get(timeout=POLL)
        while True:
            _tell_bar(bars, rows[index], done, note)
            index, done, note = news.get_nowait()
    except queue.Empty:
        return


def _show_pictures(job: Job, bars: Progress, row: TaskID) -> None:
    if job.pictures is not None and job.pictures.is_dir():
        bars.update(row, completed=sum(1 for _ in job.pictures.glob("*.png")))


def _check(job: Job, exitcode: int) -> None:
    if exitcode == 0:
        return
    lines = (
        job.log.read_text(encoding="utf-8", errors="replace").splitlines()
        if job.log.is_file()
        else []
    )
    tail = "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
    raise ChildProcessError(
        f"{job.title} failed (exit code {exitcode}); the end of {job.log}:\n{tail}"
    )


def _child(news: Any, index: int, job: Job) -> None:
    """The whole life of a job's process; an error leaves its traceback in the log and exit code
    1."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("w", encoding="utf-8") as log:
        # The descriptors of stdout and stderr, since libraries in C write there too.
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    job.task(lambda done, note: news.put((index, done, note)), *job.arguments)
