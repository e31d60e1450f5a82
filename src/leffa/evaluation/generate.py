"""Generated pictures, one PNG per sample, by one process or by one process per device.

Samples are dealt out, never repeated to fill a batch, and the processes exchange nothing: a
finished file is the message. So an evaluation that was killed goes on where it stopped, on any
number of devices.
"""

import logging
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from leffa.data.batch import Batch, Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.latent_cache import LatentCache
from leffa.data.transforms import PersonTransform
from leffa.evaluation.flows import write_flow_values
from leffa.evaluation.folder import EvaluationFolder
from leffa.evaluation.padding import cut_padding
from leffa.io.png import save_png
from leffa.io.processes import ProcessPool, ignore_interrupts
from leffa.io.progress import progress_bar
from leffa.losses.flow import FlowRequest
from leffa.models.interface import PersonGenerator
from leffa.models.memory import RunMemory
from leffa.models.sampler import SamplerSettings, generate

log = logging.getLogger(__name__)

Load = Callable[[], PersonGenerator]
Tell = Callable[[int], None]  # so many more are done

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
POLL = 0.5  # seconds between two looks at the processes
WRITERS = 2  # threads that encode PNGs while the device computes on


@dataclass(frozen=True)
class Work:
    """What is generated and how; plain values, so that it can be sent to another process.

    Args:
        records: the samples.
        flow_timesteps: where flows are compared with the true ones; none for unpaired samples.
        batch_size: per process; changes the speed, and pictures by no more than rounding.
        workers: processes that open files, per process.
        precision: a key of `PRECISIONS`.
        latents: of the samples' pictures, where they are kept.
    """

    records: Sequence[Record]
    transform: PersonTransform
    folder: EvaluationFolder
    sampler: SamplerSettings
    flow_request: FlowRequest
    flow_timesteps: Sequence[int]
    batch_size: int
    workers: int = 0
    precision: str = "32-true"
    latents: LatentCache | None = None

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
    """Do what is not yet done of `work`, on one device.

    The released code draws the noise of a batch at once and leaves its first noise to chance. Here
    each sample begins with the seed, so that no picture depends on those before it; nor on those
    beside it, since there are none.
    """
    images, flows = work.unfinished()
    by_name = {record.name: record for record in images}
    dtype, memory = PRECISIONS[work.precision], RunMemory()
    released = work.sampler.noise == "global"
    size = 1 if released else work.batch_size
    with ThreadPoolExecutor(WRITERS) as pool:
        writing: list[Future[None]] = []
        for batch in _batches(work, images, size, device):
            if released:
                torch.manual_seed(work.sampler.seed)
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                full_batch = filled(batch, size)
                generated = generate(model, full_batch, work.sampler, lambda *_: tell(0), memory)
                generated = generated.float().cpu()
            true = batch["source"].cpu()
            for future in writing:
                future.result()  # at most one batch waits to be written, and its errors are heard
            writing = [
                pool.submit(_save, work, by_name[name], generated[i], true[i])
                for i, name in enumerate(batch["name"])
            ]
            tell(len(batch["name"]))
        for future in writing:
            future.result()
    # One at a time, so that no value depends on the batch.
    for batch in _batches(work, flows, 1, device):
        write_flow_values(model, batch, work.flow_request, work.flow_timesteps, work.folder)
        tell(1)


def choose_devices(device: str, count: int | str) -> list[str]:
    """The devices' names for torch.

    Args:
        device: "auto" (CUDA's GPU if there is one), "cpu", "cuda", one GPU's name such as "cuda:1",
            or "mps", Apple's GPU, which is taken only when asked for.
        count: how many; "auto" is every GPU of the machine, and one process without a GPU.

    Raises:
        ValueError: there are not so many; several on a machine without a GPU need device "cpu".
    """
    given = device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device={device}: choose auto, cpu, cuda, cuda:N or mps") from None
    if count != "auto" and not (isinstance(count, int) and count >= 1):
        raise ValueError(f"devices={count}: give a number from 1, or auto")
    if kind.type == "cpu":
        if given == "auto" and count not in (1, "auto"):
            raise ValueError(
                f"devices={count}: this machine has no GPU; add device=cpu for as many processes "
                "on the CPU, or leave devices out"
            )
        return ["cpu"] * (1 if count == "auto" else int(count))
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or accelerator.type != kind.type:
        raise ValueError(
            f"device={device}: this machine has no {kind.type} device that torch can use; "
            "choose auto or cpu"
        )
    present = torch.accelerator.device_count()
    wanted = present if count == "auto" else int(count)
    if kind.index is not None:
        if count not in (1, "auto"):
            raise ValueError(f"device={device} is one device; choose device=cuda for {count}")
        if kind.index >= present:
            raise ValueError(f"device={device}: this machine has {present} {kind.type} devices")
        return [device]
    if not 1 <= wanted <= present:
        raise ValueError(f"devices={count}: this machine has {present} {kind.type} devices")
    return [f"{kind.type}:{index}" for index in range(wanted)]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`."""
    return {key: _moved(value, device) for key, value in batch.items()}  # type: ignore[return-value]  # the same keys


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {key: _moved(part, device) for key, part in value.items()}
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


def _batches(
    work: Work, records: Sequence[Record], batch_size: int, device: torch.device
) -> Iterator[Batch]:
    """Batches on the device; workers open the next ones meanwhile."""
    loader = DataLoader(
        PersonDataset(records, work.transform, latents=work.latents),
        batch_size=batch_size,
        collate_fn=collate,
        num_workers=work.workers if len(records) > batch_size else 0,
        worker_init_fn=ignore_interrupts,
        pin_memory=device.type == "cuda",
    )
    return (to_device(batch, device) for batch in loader)


def even_batches(samples: int, most: int) -> int:
    """The size of batches that are all equally full, but for fewer copies than there are batches.

    Args:
        most: samples a batch.
    """
    return math.ceil(samples / max(1, math.ceil(samples / most)))


def filled(batch: Batch, size: int) -> Batch:
    """The batch with its last sample repeated up to `size`; the surplus is thrown away.

    Kernels round differently for batches of different size, so with the last batch of a process as
    full as all others, a picture has the same bits whatever the number of processes or kills.
    """
    lacking = size - len(batch["name"])
    if lacking <= 0:
        return batch
    return {key: _extended(value, lacking) for key, value in batch.items()}  # type: ignore[return-value]  # the same keys


def _extended(value: Any, more: int) -> Any:
    if isinstance(value, dict):
        return {key: _extended(part, more) for key, part in value.items()}
    if isinstance(value, Tensor):
        return torch.cat([value, value[-1:].expand(more, *value.shape[1:])])
    return value + value[-1:] * more


def _save(work: Work, record: Record, generated: Tensor, true: Tensor) -> None:
    # The generated picture comes last: its presence says done.
    for folder, image in ((work.folder.true, true), (work.folder.images, generated)):
        picture = cut_padding(image, record, work.transform)
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
