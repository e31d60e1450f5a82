"""One model behind the page: from an order to a picture, by way of `leffa.predict`.

Nothing here knows gradio. An order's files lie in a folder of their own, where the picture, its
settings and its flow join them.
"""

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from leffa.app.flow_grid import FlowGrid, flow_grid
from leffa.app.limits import Limits
from leffa.data.batch import Record
from leffa.data.transforms import PersonTransform
from leffa.inference import LoadedModel
from leffa.io.atomic import write_json
from leffa.mistakes import memory_full
from leffa.models.sampler import SCHEDULERS, SamplerSettings
from leffa.predict import Job, predict

CATEGORIES = ("upper_body", "lower_body", "dresses")
OnStep = Callable[[int, int], None]  # (steps done, steps)

_MOST_GUIDANCE = 20.0
_LARGEST_SEED = 2**32 - 1


class Stopped(Exception):
    """The user, or the end of the session, stopped the work."""


@dataclass(frozen=True)
class Order:
    """What one press of the button asks for: the files, checked already, and the sampling.

    Args:
        person: the photograph; for pose transfer a picture in the wanted pose.
        reference: the garment; for pose transfer the person to copy.
        mask, densepose, keypoints: of `person`, where the model needs them.
        without_densepose: do without the map, at a cost in quality.
        paste_back: keep the photograph outside the mask.
    """

    person: Path
    reference: Path
    mask: Path | None = None
    densepose: Path | None = None
    keypoints: Path | None = None
    category: str = "upper_body"
    without_densepose: bool = False
    scheduler: str = "ddim"
    steps: int = 20
    guidance: float = 2.5
    seed: int = 42
    paste_back: bool = False

    def check(self, limits: Limits) -> None:
        """Raise ValueError for a value that no slider of the page gives."""
        if self.category not in CATEGORIES:
            raise ValueError(f"category: choose one of {', '.join(CATEGORIES)}")
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f"sampler: choose one of {', '.join(SCHEDULERS)}")
        if not 1 <= self.steps <= limits.steps:
            raise ValueError(f"steps: give a number from 1 to {limits.steps}")
        if not (math.isfinite(self.guidance) and 1 <= self.guidance <= _MOST_GUIDANCE):
            raise ValueError(f"guidance: give a number from 1 (off) to {_MOST_GUIDANCE:g}")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise ValueError(f"seed: give a whole number from 0 to {_LARGEST_SEED}")


@dataclass(frozen=True)
class Made:
    """A finished picture, its settings, and where its pixels came from."""

    picture: Path
    settings: Path
    reference: Path
    flow: FlowGrid | None  # None: the model has no layer fine enough
    order: Order
    seconds: float


class Studio:
    """A model with all that is the same for every order.

    Args:
        weights: the file or folder that the model was loaded from.
        device: "auto", "cpu", "cuda".
    """

    def __init__(self, loaded: LoadedModel, weights: Path, limits: Limits, device: str) -> None:
        self.loaded = loaded
        self.weights = weights
        timesteps = loaded.model.scheduler_config.get("num_train_timesteps", limits.steps)
        assert isinstance(timesteps, int)
        self.limits = replace(limits, steps=min(limits.steps, timesteps))
        self.device = device

    @property
    def task(self) -> str:
        """ "tryon" or "pose"; a picture is called so, which with the seed fixes its noise."""
        return self.loaded.inputs.task

    @property
    def description(self) -> str:
        """The model in a few words; without the place of its weights."""
        step, inputs = self.loaded.settings.step, self.loaded.inputs
        kind = type(self.loaded.model).__name__.removesuffix("Model")
        trained = f", trained for {step:,} steps" if step else ""
        return f"{kind} at {inputs.height}x{inputs.width}, from {self.weights.name}{trained}."

    @property
    def sampler(self) -> SamplerSettings:
        """The sampler of the weights."""
        return self.loaded.settings.sampler

    @property
    def body_map(self) -> str:
        """How the map of the body is encoded that the model reads; "none": it reads none."""
        reads_it = "densepose" in self.loaded.model.inputs
        return self.loaded.inputs.densepose if reads_it else "none"

    @property
    def needs_densepose(self) -> bool:
        """Whether a map of the person's surface belongs to the model's input."""
        return self.body_map not in ("none", "skeleton")

    @property
    def needs_keypoints(self) -> bool:
        """Whether the joints belong to the model's input, drawn as a skeleton or as heat maps."""
        return self.body_map == "skeleton" or self._reads_pose

    @property
    def _reads_pose(self) -> bool:
        return "pose" in self.loaded.model.inputs

    def make(
        self,
        order: Order,
        folder: Path,
        on_step: OnStep | None = None,
        stop: threading.Event | None = None,
        start: float | None = None,
    ) -> Made:
        """Make the picture of an order, in `folder`, which holds nothing made yet.

        Args:
            stop: ends the work before its next step once it is set.
            start: when the work on the order began, of `time.monotonic`; None: now.

        Raises:
            Stopped: `stop` was set.
            ValueError: a file or a value is wrong, or the time is over; in words of the page.
        """
        order.check(self.limits)
        start = time.monotonic() if start is None else start

        def after_step(done: int, steps: int) -> None:
            self._go_on(start, stop, f"after {done} of {steps} steps; take fewer steps, or")
            if on_step is not None:
                on_step(done, steps)

        self._go_on(start, stop, "before the first step, with the maps of the photograph;")
        record, job = self._job(order, folder)
        try:
            (picture,) = predict(job, self.loaded, self.device, False, after_step)
            flow = flow_grid(self.loaded, job.transform, record, picture, job.sampler.seed)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(self._in_words_of_the_page(str(error), record)) from error
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            full = memory_full("start the page with --device cpu")
            raise ValueError(self._in_words_of_the_page(str(full), record)) from error
        settings = self._settings(picture)
        seconds = time.monotonic() - start
        return Made(picture, settings, order.reference, flow, order, seconds)

    def _go_on(self, start: float, stop: threading.Event | None, where: str) -> None:
        """Raise where the work was stopped, or took too long."""
        if stop is not None and stop.is_set():
            raise Stopped
        if time.monotonic() - start > self.limits.seconds:
            raise ValueError(
                f"This took longer than {self.limits.seconds:g} s, {where} start the page with a "
                "larger --timeout"
            )

    def _job(self, order: Order, folder: Path) -> tuple[Record, Job]:
        inputs = self.loaded.inputs
        read: dict[str, Any] = {
            "densepose": "none" if order.without_densepose else self.body_map,
            "pose": self._reads_pose,
            "part_range": inputs.part_range,
            "image_filter": inputs.image_filter,
        }
        transform = PersonTransform(
            height=inputs.height,
            width=inputs.width,
            task=inputs.task,
            loss_region="all",
            fit="pad",
            **read,
        )
        sampler = self.sampler.with_changes(
            scheduler=order.scheduler,
            steps=order.steps,
            guidance=order.guidance,
            seed=order.seed,
            paste_back=order.paste_back and self.task == "tryon",
            paste_feather=max(1, inputs.height // 64) if order.paste_back else 0,
        )
        record = Record(
            name=self.task,
            category=order.category,
            source=order.person,
            reference=order.reference,
            mask=order.mask if self.task == "tryon" else None,
            densepose=None if order.without_densepose else order.densepose,
            keypoints=order.keypoints,
        )
        return record, Job(self.weights, [record], transform, sampler, folder)

    def _settings(self, picture: Path) -> Path:
        """The settings for the user: without the places of the server's files."""
        path = picture.with_suffix(".json")
        settings = json.loads(path.read_text(encoding="utf-8"))
        for place in (settings["weights"], *settings["files"].values()):
            place["path"] = Path(place["path"]).name
        write_json(path, settings)
        return path

    def _in_words_of_the_page(self, message: str, record: Record) -> str:
        """A message of `leffa predict` names files and options, which the page's user has not."""
        what = picture_names(self.task)
        for field, name in what.items():
            if (path := getattr(record, field)) is not None:
                message = message.replace(f"{path}: ", f"{name} ").replace(str(path), name)
        for option, remedy in _OPTIONS.items():
            message = message.replace(option, remedy)
        return message[:1].upper() + message[1:]


# Of messages of `leffa.predict`, as far as an order of the page can bring them about.
_OPTIONS = {
    "--encoding none": "tick “Without DensePose”",
    "; give --mask (white is repainted), or --recipe NAME with --parse and --keypoints; "
    "`leffa photo` makes them": "; brush the area to repaint, or upload a mask",
    "give --densepose": "upload a map",
}


def picture_names(task: str) -> dict[str, str]:
    """What the page calls the files of a record, by field."""
    person, reference = (
        ("The picture with the pose", "The person's photograph")
        if task == "pose"
        else ("The person's photograph", "The garment's picture")
    )
    return {
        "source": person,
        "reference": reference,
        "mask": "The mask",
        "densepose": "The DensePose map",
        "keypoints": "The keypoints",
    }
