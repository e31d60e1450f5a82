"""Helper processes that leave Ctrl-C to the process that started them."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


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
