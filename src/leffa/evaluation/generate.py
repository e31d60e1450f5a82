"""Generates one PNG per sample, in this process or in one process per device.

Finished files are all that the processes share, so a killed evaluation resumes on any number of
devices.
"""

import logging
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from leffa.data.batch import Record, target
from leffa.evaluation.attention import write_attention
from leffa.evaluation.flows import write_flow_values
from leffa.evaluation.settings import Work
from leffa.inference.generate import generate_batches
from leffa.inference.padding import crop_padding
from leffa.io.png import save_png
from leffa.io.processes import ProcessPool
from leffa.io.progress import progress_bar
from leffa.models.interface import PersonGenerator

log = logging.getLogger(__name__)

Load = Callable[[], PersonGenerator]
Advance = Callable[[int], None]  # so many more are done

POLL = 0.5  # seconds between two checks of the processes
WRITERS = 2  # threads that encode PNGs while the device computes on


def generate_all(work: Work, model: PersonGenerator, load: Load | None) -> None:
    """Do the unfinished work, here on one device or in one process for each of several.

    Raises:
        ValueError: several devices without `load`, or a file is unreadable.
        ChildProcessError: one of the processes was killed.
    """
    images, flows, shares = work.unfinished()
    if len(images) < len(work.records):
        done = len(work.records) - len(images)
        log.info("%d of %d images exist already", done, len(work.records))
    total = len(images) + len(flows) + len(shares)
    if total == 0:
        return
    devices = work.settings.devices
    with progress_bar("generating", total, work.settings.progress) as bar:
        if len(devices) > 1:
            _in_processes(work, load, devices, bar)
            return
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            bar(done)

        generate_part(work, model, torch.device(devices[0]), advance)


def generate_part(
    work: Work, model: PersonGenerator, device: torch.device, advance: Advance
) -> None:
    """Do the unfinished part of `work` on one device."""
    model.to(device)
    images, flows, shares = work.unfinished()
    how = work.how
    if how.sampler.noise == "global":  # drawn for a batch at once, from its seed
        how = replace(how, batch_size=1)
    with ThreadPoolExecutor(WRITERS) as pool:
        writing: list[Future[None]] = []
        for done in generate_batches(model, images, how, on_step=lambda *_: advance(0)):
            generated, true = done.images.float().cpu(), target(done.batch).cpu()
            for future in writing:
                future.result()  # at most one batch waits to be written, and its errors are heard
            writing = [
                pool.submit(_save, work, record, generated[i], true[i])
                for i, record in enumerate(done.records)
            ]
            advance(len(done.records))
        for future in writing:
            future.result()
    # One at a time, so that no value depends on the batch.
    for record, batch in zip(flows, how.open_batches(flows, 1, device), strict=True):
        write_flow_values(model, record, batch, work)
        advance(1)
    for batch in how.open_batches(shares, 1, device):
        write_attention(model, batch, work)
        advance(1)


def _save(work: Work, record: Record, generated: Tensor, true: Tensor) -> None:
    # The generated image comes last: its presence marks the sample as done.
    for folder, image in ((work.folder.true, true), (work.folder.images, generated)):
        picture = crop_padding(image, record, work.how.transform)
        save_png(picture, folder / f"{record.name}.png")


def _in_processes(
    work: Work, load: Load | None, devices: Sequence[str], bar: Callable[[int], None]
) -> None:
    if load is None:
        raise ValueError("several devices need `load`, which makes the model in each process")
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    threads = max(1, torch.get_num_threads() // len(devices))
    with ProcessPool(len(devices), _start, (done, stop, threads)) as pool:
        pending = {
            pool.submit(
                _child, replace(work, records=work.records[rank :: len(devices)]), load, device
            )
            for rank, device in enumerate(devices)
        }
        try:
            while pending:
                finished, pending = wait(pending, POLL, FIRST_EXCEPTION)
                bar(done.value)
                for future in finished:
                    future.result()
        except BrokenProcessPool:
            raise ChildProcessError(
                "a process of the evaluation was killed (out of memory?); rerun the same command "
                "to resume; a smaller batch_size needs less memory"
            ) from None
        finally:
            stop.set()


class _Stopped(Exception):
    """Another process failed, or the one that started this one is gone."""


_process: dict[str, Any] = {}  # of a child: what `_start` was given


def _start(done: Any, stop: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    _process.update(done=done, stop=stop)


def _child(work: Work, load: Load, device: str) -> None:
    target = torch.device(device)
    if target.type == "cuda":
        torch.cuda.set_device(target)
    generate_part(work, load().eval(), target, _advance_in_child)


def _advance_in_child(more: int) -> None:
    """Count, and end early, also between steps, where nobody waits for the rest."""
    with _process["done"].get_lock():
        _process["done"].value += more
    parent = multiprocessing.parent_process()
    if _process["stop"].is_set() or parent is None or not parent.is_alive():
        raise _Stopped
