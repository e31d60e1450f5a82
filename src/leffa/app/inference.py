"""One model behind the page: from a job to an image, by way of `leffa.predict`.

Nothing here knows gradio. A job's files lie in a folder of their own, where the image, its
settings and its flow join them.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from leffa.app.flow_grid import FlowGrid, flow_grid
from leffa.app.limits import Limits
from leffa.app.ui_text import OPTIONS, TABS
from leffa.cli_errors import memory_full
from leffa.data.batch import Record
from leffa.data.labels import CATEGORIES
from leffa.io.atomic import write_json
from leffa.models.schedulers import SCHEDULERS
from leffa.performance import Performance
from leffa.photo_to_picture import Weights
from leffa.predict import Job as PredictJob
from leffa.predict import predict
from leffa.predict.inputs import photo_transform

_LARGEST_GUIDANCE = 20.0
_LARGEST_SEED = 2**32 - 1


class Stopped(Exception):
    """The user, or the end of the session, stopped the job."""


@dataclass(frozen=True)
class Sampling:
    """The values of the page's controls.

    Args:
        without_densepose: do without the map, at a cost in quality.
    """

    category: str = "upper_body"
    without_densepose: bool = False
    scheduler: str = "ddim"
    steps: int = 20
    guidance: float = 2.5
    seed: int = 42
    paste_back: bool = False

    def check(self, limits: Limits, samplers: Collection[str] = SCHEDULERS) -> None:
        """Raise ValueError for a value that no slider of the page gives."""
        if self.category not in CATEGORIES:
            raise ValueError(f"category: choose one of {', '.join(CATEGORIES)}")
        if self.scheduler not in samplers:
            raise ValueError(f"sampler: choose one of {', '.join(samplers)}")
        if not 1 <= self.steps <= limits.steps:
            raise ValueError(f"steps: give a number from 1 to {limits.steps}")
        if not (math.isfinite(self.guidance) and 1 <= self.guidance <= _LARGEST_GUIDANCE):
            raise ValueError(f"guidance: give a number from 1 (off) to {_LARGEST_GUIDANCE:g}")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise ValueError(f"seed: give a whole number from 0 to {_LARGEST_SEED}")


@dataclass(frozen=True)
class Job:
    """What one press of the button asks for: the files, checked already, and the sampling."""

    record: Record
    sampling: Sampling


@dataclass(frozen=True)
class Result:
    """A finished image, its settings, and where its pixels came from."""

    picture: Path
    settings: Path
    flow: FlowGrid | None  # None: the model has no layer fine enough
    job: Job
    seconds: float


class InferenceSession:
    """A model with all that is the same for every job.

    Args:
        weights: of the model, which is loaded for the first job if it is not yet.
        device: "auto", "cpu", "cuda".
    """

    def __init__(
        self, weights: Weights, limits: Limits, device: str, performance: Performance | None = None
    ) -> None:
        self.weights = weights
        self.performance = weights.performance(performance or Performance(), device)
        self.inputs = weights.inputs
        self.limits = replace(limits, steps=min(limits.steps, weights.timesteps))
        self.device = device
        self.task = self.inputs.task  # also an image's name, which with the seed fixes its noise
        self.sampler, self.samplers = weights.settings.sampler, weights.samplers
        # How the body map that the model reads is encoded; "none": it reads none.
        self.body_map = self.inputs.densepose if "densepose" in weights.reads else "none"
        self.needs_densepose = self.body_map not in ("none", "skeleton")
        self.needs_keypoints = self.body_map == "skeleton" or "pose" in weights.reads

    @property
    def description(self) -> str:
        """The model in a few words; without the place of its weights."""
        step, inputs = self.weights.settings.step, self.inputs
        trained = f", trained for {step:,} steps" if step else ""
        name = f"{self.weights.kind} at {inputs.height}x{inputs.width}"
        return f"{name}, from {self.weights.file.name}{trained}."

    def run(
        self,
        job: Job,
        folder: Path,
        on_step: Callable[[int, int], None] | None = None,
        stop: threading.Event | None = None,
        start: float | None = None,
    ) -> Result:
        """Make the image of a job in `folder`, which holds none yet.

        Args:
            on_step: called with (steps done, steps).
            stop: ends the work before its next step once it is set.
            start: when the work on the job began, of `time.monotonic`; None: now.

        Raises:
            Stopped: `stop` was set.
            ValueError: a file or a value is wrong, or the time is over; in words of the page.
        """
        job.sampling.check(self.limits, self.samplers)
        start = time.monotonic() if start is None else start

        def check_time(where: str) -> None:
            if stop is not None and stop.is_set():
                raise Stopped
            if time.monotonic() - start > (limit := self.limits.seconds_on(self.device)):
                raise ValueError(
                    f"This took longer than {limit:g} s, {where} start the page with "
                    "a larger --timeout"
                )

        def after_step(done: int, steps: int) -> None:
            check_time(f"after {done} of {steps} steps; take fewer steps, or")
            if on_step is not None:
                on_step(done, steps)

        check_time("before the first step, with the maps of the photograph;")
        prediction = self._prediction(job, folder)
        try:
            loaded = self.weights.load()
            (picture,) = predict(prediction, loaded, self.device, False, after_step)
            seed = job.sampling.seed
            flow = flow_grid(loaded, prediction.transform, job.record, picture, seed)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(self._in_words_of_the_page(str(error), job.record)) from error
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            full = memory_full("start the page with --device cpu")
            raise ValueError(self._in_words_of_the_page(str(full), job.record)) from error
        settings = _without_places(picture.with_suffix(".json"))
        return Result(picture, settings, flow, job, time.monotonic() - start)

    def _prediction(self, job: Job, folder: Path) -> PredictJob:
        sampling = job.sampling
        body_map = "none" if sampling.without_densepose else self.body_map
        # Uploads were stored as a viewer shows them.
        read = {"densepose": body_map, "as_shown": False}
        transform = photo_transform(self.inputs, self.weights.reads, **read)
        sampler = self.sampler.with_changes(
            scheduler=sampling.scheduler,
            steps=sampling.steps,
            guidance=sampling.guidance,
            seed=sampling.seed,
            paste_back=sampling.paste_back and self.task == "tryon",
            paste_feather=max(1, self.inputs.height // 64) if sampling.paste_back else 0,
        )
        return PredictJob(
            *(self.weights.file, [job.record], transform, sampler, folder),
            performance=self.performance,
        )

    def _in_words_of_the_page(self, message: str, record: Record) -> str:
        """A message of `leffa predict` names files and options, which the page's user has not."""
        for field, name in TABS[self.task].files.items():
            if (path := getattr(record, field)) is not None:
                message = message.replace(f"{path}: ", f"{name} ").replace(str(path), name)
        for option, remedy in OPTIONS.items():
            message = message.replace(option, remedy)
        return message[:1].upper() + message[1:]


def _without_places(path: Path) -> Path:
    """Rewrite a settings file for the user: names of files, not where the server keeps them."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    for place in (settings["weights"], *settings["files"].values()):
        place["path"] = Path(place["path"]).name
    write_json(path, settings)
    return path
