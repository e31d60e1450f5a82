"""Generated pictures, one PNG per sample, by one process or by one process per device.

Samples are dealt out, never repeated to fill a batch, and the processes exchange nothing: a
finished file is the message. So an evaluation that was killed goes on where it stopped, on any
number of devices.
"""

import logging
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from leffa.data.batch import Record
from leffa.evaluation.flows import write_flow_values
from leffa.evaluation.folder import EvaluationFolder
from leffa.inference.generate import Generation, generate_batches
from leffa.inference.padding import crop_padding
from leffa.io.png import save_png
from leffa.io.processes import ProcessPool
from leffa.io.progress import progress_bar
from leffa.losses.flow import FlowRequest
from leffa.models.interface import PersonGenerator

log = logging.getLogger(__name__)

Load = Callable[[], PersonGenerator]
Tell = Callable[[int], None]  # so many more are done

POLL = 0.5  # seconds between two looks at the processes
WRITERS = 2  # threads that encode PNGs while the device computes on


@dataclass(frozen=True)
class Work:
    """What is generated and how; plain values, so that it can be sent to another process.

    Args:
        records: the samples.
        how: its workers are those of each process.
        flow_request: how flows are read.
        flow_timesteps: where they are compared with the true ones; none for unpaired samples.
    """

    records: Sequence[Record]
    folder: EvaluationFolder
    how: Generation
    flow_request: FlowRequest
    flow_timesteps: Sequence[int]

    def unfinished(self) -> tuple[list[Record], list[Record]]:
        """The samples that lack a picture, and those that lack the look at their flow."""
        flows = self.folder.without_flows(self.records) if self.flow_timesteps else []
        return self.folder.without_images(self.records), flows


def generate_all(
    work: Work, model: PersonGenerator, load: Load | None, devices: Sequence[str], progress: bool
) -> None:
    """Do what is not yet done.

    Args:
        model: used, on the device, where there is one only.
        load: makes the model again in another process; needed for several devices.
        devices: a process each; with one, this process does it.

    Raises:
        ValueError: several devices without `load`, or a file is unreadable.
        ChildProcessError: one of the processes was killed.
    """
    images, flows = work.unfinished()
    if len(images) < len(work.records):
        done = len(work.records) - len(images)
        log.info("%d of %d images are there already", done, len(work.records))
    total = len(images) + len(flows)
    if total == 0:
        return
    with progress_bar("generating", total, progress) as bar:
        if len(devices) == 1:
            device = torch.device(devices[0])
            generate_part(work, model.to(device), device, _Counter(bar))
            return
        if load is None:
            raise ValueError("several devices need `load`, which makes the model in each process")
        parts = [
            replace(work, records=work.records[rank :: len(devices)])
            for rank in range(len(devices))
        ]
        _in_processes(parts, load, devices, bar)


def generate_part(work: Work, model: PersonGenerator, device: torch.device, tell: Tell) -> None:
    """Do what is not yet done of `work`, on one device, where the model lies."""
    images, flows = work.unfinished()
    how = work.how
    if how.sampler.noise == "global":  # drawn for a batch at once, from its seed
        how = replace(how, batch_size=1)
    with ThreadPoolExecutor(WRITERS) as pool:
        writing: list[Future[None]] = []
        for done in generate_batches(model, images, how, on_step=lambda *_: tell(0)):
            generated, true = done.images.float().cpu(), done.batch["source"].cpu()
            for future in writing:
                future.result()  # at most one batch waits to be written, and its errors are heard
            writing = [
                pool.submit(_save, work, record, generated[i], true[i])
                for i, record in enumerate(done.records)
            ]
            tell(len(done.records))
        for future in writing:
            future.result()
    # One at a time, so that no value depends on the batch.
    for batch in how.open_batches(flows, 1, device):
        write_flow_values(model, batch, work.flow_request, work.flow_timesteps, work.folder)
        tell(1)


def _save(work: Work, record: Record, generated: Tensor, true: Tensor) -> None:
    # The generated picture comes last: its presence says done.
    for folder, image in ((work.folder.true, true), (work.folder.images, generated)):
        picture = crop_padding(image, record, work.how.transform)
        save_png(picture, folder / f"{record.name}.png")


class _Counter:
    """From "so many more" to "so many in all"."""

    def __init__(self, bar: Callable[[int], None]) -> None:
        self.bar, self.done = bar, 0

    def __call__(self, more: int) -> None:
        self.done += more
        self.bar(self.done)


class _Stopped(Exception):
    """Another process failed, or the one that started this one is gone."""


def _in_processes(
    parts: Sequence[Work], load: Load, devices: Sequence[str], bar: Callable[[int], None]
) -> None:
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    threads = max(1, torch.get_num_threads() // len(devices))
    with ProcessPool(len(devices), _start, (done, stop, threads)) as pool:
        pending = {
            pool.submit(_child, part, load, device)
            for part, device in zip(parts, devices, strict=True)
        }
        try:
            while pending:
                finished, pending = wait(pending, POLL, FIRST_EXCEPTION)
                bar(done.value)
                for future in finished:
                    future.result()
        except BrokenProcessPool:
            raise ChildProcessError(
                "a process of the evaluation was killed (out of memory?); the same command goes on "
                "from the finished images, and a smaller batch_size needs less memory"
            ) from None
        finally:
            stop.set()


_process: dict[str, Any] = {}  # of a child: what `_start` was given


def _start(done: Any, stop: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    _process.update(done=done, stop=stop)


def _child(work: Work, load: Load, device: str) -> None:
    target = torch.device(device)
    if target.type == "cuda":
        torch.cuda.set_device(target)
    generate_part(work, load().eval().to(target), target, _tell_parent)


def _tell_parent(more: int) -> None:
    """Count, and end early, also between steps, where nobody waits for the rest."""
    with _process["done"].get_lock():
        _process["done"].value += more
    parent = multiprocessing.parent_process()
    if _process["stop"].is_set() or parent is None or not parent.is_alive():
        raise _Stopped
