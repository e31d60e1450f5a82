"""Generate the images of a list of pairs; finished ones are kept."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor

from leffa.data.batch import Batch, Record
from leffa.data.fit import unpad
from leffa.data.keypoints import Annotation
from leffa.data.transforms import PersonTransform
from leffa.inference.devices import choose_devices
from leffa.inference.forward import encode_batch, noised_forward
from leffa.inference.generate import (
    GeneratedBatch,
    Generation,
    OnStep,
    even_batch_size,
    generate_batches,
)
from leffa.inference.loaded import LoadedModel, find_weights
from leffa.io.atomic import write_json
from leffa.io.files import sha256_of
from leffa.io.numbers import check_count
from leffa.io.outputs import check_writable, marked
from leffa.io.png import save_png, to_uint8
from leffa.io.progress import progress_bar
from leffa.losses.flow import warp
from leffa.losses.request import FlowRequest
from leffa.metrics.result import library_versions
from leffa.models.export import SETTINGS
from leffa.models.interface import PersonGenerator
from leffa.models.memory import GIGABYTE, RunMemory
from leffa.models.placement import place_model
from leffa.models.sampler import SamplerSettings, paste
from leffa.performance import Performance, Precision
from leffa.pictures import flow_picture, mean_flow
from leffa.predict.check import check_present, check_record

log = logging.getLogger(__name__)

_TIMESTEP = 200  # to which a result is noised to read its flow
_FILES = ("source", "reference", "mask", "densepose", "parse", "keypoints")


@dataclass(frozen=True)
class Job:
    """What to generate, how, and where to.

    Args:
        weights: the file or folder that the model was loaded from.
        records: the pairs; a name is a file's name and seeds its noise.
        transform: without random changes.
        recipe: the name of `transform.agnostic`.
        save_flow: also write the warped reference and the flow.
        batch_size: at most; it and what follows change images by no more than rounding.
        reference_memory: in gigabytes, for what the images share, see `RunMemory`.
        performance: see `models.placement`; of it tiles change more than rounding.
    """

    weights: Path
    records: Sequence[Record]
    transform: PersonTransform
    sampler: SamplerSettings
    out: Path
    recipe: str | None = None
    save_flow: bool = False
    batch_size: int = 1
    reference_memory: float = 4.0
    performance: Performance = field(default_factory=Performance)

    @property
    def precision(self) -> str:
        return self.performance.precision or "32-true"

    def settings(self, record: Record) -> dict[str, Any]:
        """Everything an image depends on, as plain values."""
        transform = asdict(replace(self.transform, agnostic=None))
        if transform["densepose_files"] is None:
            del transform["densepose_files"]
        return {
            "name": record.name,
            "category": record.category,
            "files": {
                field: {"path": str(path), "sha256": sha256_of(path)}
                for field, path in self.files(record).items()
            },
            "weights": self._weights,
            "inputs": transform | {"agnostic": self.recipe},
            "sampler": asdict(self.sampler),
            "precision": self.precision,
            "save_flow": self.save_flow,
            **({"tile_vae": True} if self.performance.tile_vae else {}),
        }

    def files(self, record: Record) -> dict[str, Path]:
        files = {field: getattr(record, field) for field in _FILES}
        return {
            field: file.path if isinstance(file, Annotation) else file
            for field, file in files.items()
            if file is not None
        }

    def outputs(self, record: Record) -> list[Path]:
        picture = f"{record.name}.png"
        flow = [self.out / folder / picture for folder in ("warped", "flow") if self.save_flow]
        return [self.out / picture, self.out / f"{record.name}.json", *flow]

    @cached_property
    def _weights(self) -> dict[str, Any]:
        """Hashing gigabytes would take longer than an image: size and time of what is read do."""
        files = [find_weights(self.weights)]
        if files[0].name == SETTINGS:
            files += files[0].parent.rglob("*.safetensors")
        found = [path.stat() for path in files]
        return {
            "path": str(self.weights),
            "bytes": sum(each.st_size for each in found),
            "modified": max(each.st_mtime_ns for each in found),
        }

    @property
    def full_batch(self) -> int:
        """The size of every batch: by all pairs of the job, not by those that are left, so that an
        interruption changes no bit of an image."""
        return even_batch_size(len(self.records), self.batch_size)

    def memory(self) -> RunMemory:
        """What all batches of the job share; for one batch there is nothing to keep."""
        references = {record.reference for record in self.records}
        shared = len(self.records) > 1 and len(references) == 1
        batches = math.ceil(len(self.records) / self.full_batch)
        limit = self.reference_memory * GIGABYTE if batches > 1 else 0
        return RunMemory(shared and not self.sampler.draws_conditions, limit)

    def unfinished(self) -> list[Record]:
        """The pairs without an image.

        Raises:
            ValueError: there is an image of other settings.
        """
        return [record for record in self.records if not self._finished(record)]

    def _finished(self, record: Record) -> bool:
        path = self.out / f"{record.name}.json"
        picture = path.with_suffix(".png")
        if not (path.is_file() and picture.is_file()):
            return False
        wanted = json.loads(json.dumps(self.settings(record)))
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            found["sampler"] = asdict(SamplerSettings(**found["sampler"]))  # of an earlier version
        except (ValueError, LookupError, TypeError):
            found = {}
        if changed := [key for key in wanted if found.get(key) != wanted[key]]:
            raise ValueError(
                f"{picture}: was made with other settings ({', '.join(changed)}); give another "
                "--out, or delete it"
            )
        return True


def predict(
    job: Job,
    loaded: LoadedModel,
    device: str = "auto",
    progress: bool = True,
    on_step: OnStep | None = None,
) -> list[Path]:
    """Generate the missing images; returns the paths of all.

    An image depends only on the weights, the settings, its files and its name.

    Args:
        progress: shows a bar; in a log file, one line per minute.
        on_step: called as (denoising steps done, steps in all images); what it raises ends the
            work at once.

    Raises:
        FileNotFoundError, ValueError: a file is missing or of the wrong kind, found before the
            first image is made; or an image of other settings is there.
    """
    if job.precision not in (known := get_args(Precision)):
        raise ValueError(f"precision={job.precision}: choose one of {', '.join(known)}")
    check_count("batch_size", job.batch_size)
    (place,) = choose_devices(device, 1)
    todo = _checked(job, progress)
    job.out.mkdir(parents=True, exist_ok=True)
    place_model(loaded.model, torch.device(place), job.performance)
    # Pasted at the photograph's own resolution instead, see `_write`.
    sampler = replace(job.sampler, paste_back=False)
    how = Generation(job.transform, sampler, job.full_batch, job.precision)
    total = len(todo) * sampler.steps
    with progress_bar("denoising steps", total, progress and bool(todo)) as bar:

        def tell(done: int, steps: int) -> None:
            bar(done)
            if on_step is not None:
                on_step(done, steps)

        for made in generate_batches(loaded.model, todo, how, job.memory(), tell):
            _write(job, how, loaded, made)
    return [job.out / f"{record.name}.png" for record in job.records]


def _checked(job: Job, progress: bool) -> list[Record]:
    """The unfinished pairs, when every file of theirs has been opened once."""
    for record in job.records:
        check_present(record, job.transform)
    todo = job.unfinished()
    if done := len(job.records) - len(todo):
        log.info("%d of %d images exist already", done, len(job.records))
    check_writable(
        (path for record in todo for path in job.outputs(record)),
        (path for record in job.records for path in job.files(record).values()),
    )
    with progress_bar("checking files", len(todo), progress and len(todo) > 1) as bar:
        for number, record in enumerate(todo, start=1):
            check_record(record, job.transform)
            bar(number)
    return todo


@torch.no_grad()
def _write(job: Job, how: Generation, loaded: LoadedModel, made: GeneratedBatch) -> None:
    records, batch, generated = made
    mask, seen = batch["mask"], dict[str, Tensor]()
    if job.save_flow:
        seed = how.sampler.seed
        with how.autocast(generated.device):
            flow = look_up_flow(loaded.model, batch, generated, loaded.flow_request, seed)
            warped = warp(batch["reference"], flow) * mask + (1 - mask)  # white outside the mask
            seen = {"warped": warped, "flow": flow_picture(flow, mask)}
    ones = torch.ones_like(generated[:, :1])
    alpha = paste(ones, torch.zeros_like(ones), mask, job.sampler.paste_feather)
    for index, record in enumerate(records):
        person = job.transform.open_photograph(record.source)
        for folder, pictures in seen.items():
            (job.out / folder).mkdir(exist_ok=True)
            picture = _undo_fit(job, pictures[index], person)
            save_png(picture, job.out / folder / f"{record.name}.png")
        picture = _undo_fit(job, generated[index], person)
        if job.sampler.paste_back:
            # Lanczos would ring, and change pixels far outside the mask.
            soft = alpha[index].expand(3, -1, -1) * 2 - 1
            cover = _undo_fit(job, soft, person, Image.Resampling.BILINEAR).convert("L")
            picture = Image.composite(picture, person, cover)
        save_png(picture, job.out / f"{record.name}.png")
        settings = job.settings(record) | {"versions": library_versions()}
        write_json(job.out / f"{record.name}.json", marked(settings))


def _undo_fit(
    job: Job,
    image: Tensor,
    person: Image.Image,
    resampling: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """(3, H, W) in [-1, 1] as an image of the photograph's size, without padding."""
    picture = Image.fromarray(to_uint8(image.float().cpu()))
    if job.transform.fit == "pad":
        return unpad(picture, person.size, resampling)
    return picture.resize(person.size, resampling)


def look_up_flow(
    model: PersonGenerator, batch: Batch, generated: Tensor, request: FlowRequest, seed: int
) -> Tensor:
    """Where each pixel of a result (B, 3, H, W) looks in the reference, (B, H, W, 2) in [-1, 1].

    The result is noised and the network asked once more; the flow is the mean over the layers of
    the request.

    Raises:
        ValueError: no layer is as fine as the request wants.
    """
    encoded = encode_batch(model, batch, generated)
    flows = noised_forward(model, encoded, _TIMESTEP, request, seed).prediction.flows
    if not flows:
        raise ValueError(
            f"this {type(model).__name__} has no attention layer to read a flow from "
            f"(min_resolution={request.min_resolution}); predict without --save-flow"
        )
    return mean_flow(flows, generated.shape[-2:])
