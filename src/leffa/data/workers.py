"""What a process that makes samples is told before its first one."""

import ctypes
import sys

from leffa.io.processes import ignore_interrupts

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST = 32 << 20  # bytes, the highest threshold that glibc takes on 64 bits
_NEVER = (1 << 31) - 1


def start_worker(worker: int) -> None:
    """A `worker_init_fn` of a `DataLoader` that makes samples."""
    ignore_interrupts(worker)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let this process use its freed memory again instead of giving it back to the system.

    A sample at 1024x768 is 34 MB, which glibc gives back as soon as it is freed. For the next one
    the system clears every page anew, which takes as long as the arithmetic on it.
    Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _NEVER)
