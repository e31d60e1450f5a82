"""Helper processes that leave Ctrl-C to the process that started them."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessPool(ProcessPoolExecutor):
    """Processes for a `with` block; Ctrl-C ends it when the calls in progress are done.

    They are fresh ones: a copy of a process that runs threads (torch) can hang.
    """

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, context, _start, (initializer, initargs))

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        with interrupts_left_to_parent():  # processes are started here
            return super().submit(*args, **kwargs)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.shutdown(cancel_futures=kind is not None)


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    there: int = 0,
    chunk: int = 8,
) -> Iterator[Result]:
    """What a function gives of each item, in order; a few items are not worth processes.

    Args:
        workers: processes; below 2, this one alone.
        progress: called with (items done, items in all), of which so many were `there` before.
        chunk: items that a process takes at a time.
    """
    parallel = workers > 1 and len(items) >= 2 * chunk
    with ProcessPool(workers) if parallel else nullcontext() as pool:
        results = pool.map(function, items, chunksize=chunk) if pool else map(function, items)
        for done, result in enumerate(results, start=there + 1):
            if progress is not None:
                progress(done, there + len(items))
            yield result


@contextmanager
def interrupts_left_to_parent() -> Iterator[None]:
    """Processes that are started meanwhile hear no Ctrl-C, not even while they import."""
    if threading.current_thread() is not threading.main_thread():
        yield  # there, handlers cannot be changed
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ignore_interrupts(worker: int = 0) -> None:
    """Hear no Ctrl-C in this process: a `worker_init_fn` of a `DataLoader`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _start(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    ignore_interrupts()
    if initializer is not None:
        initializer(*initargs)
