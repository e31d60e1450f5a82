"""Handles the page's requests: checks what is sent, makes it a job, and reports its progress.

Uploads are checked and copied into the session's folder here, upright and without their metadata,
so that all behind this sees clean files.
"""

import base64
import hashlib
import queue
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from leffa.app.inference import InferenceSession, Job, Result, Sampling
from leffa.app.limits import as_photograph, open_upload
from leffa.app.maps import MapMaker, Maps, save_input
from leffa.app.sessions import Session
from leffa.app.ui_text import TABS
from leffa.data.batch import Record
from leffa.data.labels import CATEGORIES
from leffa.io.pictures import open_mask


@dataclass(frozen=True)
class Progress:
    """So many of so many denoising steps are done; `left` is in seconds, None before the first."""

    done: int
    steps: int
    left: float | None


@dataclass(frozen=True)
class Request:
    """What the page sends for an image: paths of uploads, and the values of its sliders."""

    person: Path | None
    reference: Path | None
    mask: str | Path | None  # brushed in the page: a data address; or the path of an upload
    densepose: Path | None
    sampling: Sampling


class RequestHandler:
    """Takes requests for one model."""

    def __init__(self, model: InferenceSession, maps: MapMaker) -> None:
        self.model = model
        self.maps = maps
        self.task = model.task
        self.text = TABS[model.task]

    def upload(self, path: Path, field: str) -> Image.Image:
        """An upload for a field of a `Record`, decoded and upright; ValueError: it is refused."""
        return open_upload(path, self.model.limits, self.text.files[field])

    def photograph(self, path: Path, field: str) -> Image.Image:
        """The same as an RGB image."""
        return as_photograph(self.upload(path, field))

    def preview(
        self, path: Path, category: str, session: Session
    ) -> tuple[Image.Image, Image.Image | None, tuple[str, ...]]:
        """A person's photograph, its mask if one could be made, and what could not be made and why.

        Raises:
            ValueError: the photograph is refused.
        """
        picture = self.photograph(path, "source")
        with session.mapping:
            maps = self._maps(picture, category, session)
            mask = None if maps.mask is None else open_mask(maps.mask)
        return picture, mask, maps.remarks

    def job(self, request: Request, session: Session, folder: Path) -> Job:
        """The job of a request, with its files in `folder`, a new one of the session.

        Raises:
            ValueError: something is missing or refused; one line with the remedy.
        """
        paths = {"source": request.person, "reference": request.reference}
        for field, path in paths.items():
            if path is None:
                name = self.text.files[field]
                raise ValueError(f"{name} is missing; upload one, or choose an example")
        request.sampling.check(self.model.limits, self.model.samplers)
        photos = {field: self.photograph(path, field) for field, path in paths.items() if path}
        save_input(photos["reference"], reference := folder / "reference.png")
        with session.mapping:
            maps = self._maps(photos["source"], request.sampling.category, session)
            record = Record(
                name=self.task,
                category=request.sampling.category,
                source=_copy(maps.photo, folder, "person"),
                reference=reference,
                mask=self._mask(request, maps, photos["source"], folder),
                densepose=self._densepose(request, maps, folder),
                keypoints=self._keypoints(maps, folder),
            )
        return Job(record, request.sampling)

    def run(self, request: Request, session: Session) -> Iterator[Progress | Result]:
        """Make the image of a request; ends with the result.

        The work stops after the maps, or before its next step, when the iterator is closed or the
        session stops it; where nothing is made, no file stays. Its time begins here.

        Raises:
            Stopped: it was stopped.
            ValueError: see `job` and `InferenceSession.run`.
        """
        start = time.monotonic()
        with session.running(self.task) as stop:
            folder = session.new_folder()
            try:
                job = self.job(request, session, folder)
                yield Progress(0, job.sampling.steps, None)
                news: queue.Queue[Progress | None] = queue.Queue()  # None: the job has ended
                begin = time.monotonic()

                def tell(done: int, steps: int) -> None:
                    left = (time.monotonic() - begin) / done * (steps - done)
                    news.put(Progress(done, steps, left))

                with ThreadPoolExecutor(1) as pool:
                    future = pool.submit(self.model.run, job, folder, tell, stop, start)
                    future.add_done_callback(lambda _: news.put(None))
                    try:
                        while (newest := _newest(news)) is not None:
                            yield newest
                    finally:
                        stop.set()  # before the pool waits for the thread
                result = future.result()
            except BaseException:  # the iterator's end too
                shutil.rmtree(folder, ignore_errors=True)
                raise
            session.keep(result, self.task)
            yield result

    def _maps(self, picture: Image.Image, category: str, session: Session) -> Maps:
        """The maps of a photograph, made once while it stays the same.

        `session.mapping` must be held: another photograph's maps take their place.
        """
        key = (picture.size, hashlib.sha256(picture.tobytes()).hexdigest(), category)
        known = session.maps.get(self.task)
        if known is None or known[0] != key:
            folder = session.folder / f"{self.task}_maps"
            known = session.maps[self.task] = key, self.maps.make(picture, category, folder)
        return known[1]

    def _mask(self, request: Request, maps: Maps, person: Image.Image, folder: Path) -> Path | None:
        if self.task != "tryon":
            return None
        if request.mask is None:
            if maps.mask is None:
                raise ValueError(f"The area to repaint is unknown. {maps.remark('mask')}")
            return _copy(maps.mask, folder, "masks")
        path = folder / "mask.png"
        brushed = isinstance(request.mask, str)
        upload = _decode(request.mask, path) if isinstance(request.mask, str) else request.mask
        mask = self.upload(upload, "mask").convert("L")
        if not (np.asarray(mask) >= 128).any():
            raise ValueError("The mask is empty; brush over the area to repaint")
        if brushed:  # on a smaller copy of the photograph
            mask = mask.resize(person.size, Image.Resampling.BILINEAR)
            mask = mask.point([0] * 128 + [255] * 128)
        save_input(mask, path)
        return path

    def _densepose(self, request: Request, maps: Maps, folder: Path) -> Path | None:
        if not self.model.needs_densepose or request.sampling.without_densepose:
            return None
        if request.densepose is not None:
            upload = self.upload(request.densepose, "densepose")
            save_input(upload, path := folder / "densepose.png")
            return path
        if maps.densepose is None:
            remark = maps.remark("DensePose")
            raise ValueError(f"{remark} Or tick “Without DensePose”, at a cost in quality.")
        return _copy(maps.densepose, folder, "densepose")

    def _keypoints(self, maps: Maps, folder: Path) -> Path | None:
        if not self.model.needs_keypoints:
            return None
        if maps.keypoints is None:
            raise ValueError(maps.remark("joints"))
        return _copy(maps.keypoints, folder, "keypoints")


class HandlerByCategory(RequestHandler):
    """Takes requests for two try-on models: released Leffa's for upper garments, and for others.

    Args:
        upper: what the page shows of a model is this one's.
    """

    def __init__(self, upper: RequestHandler, others: RequestHandler) -> None:
        super().__init__(upper.model, upper.maps)
        self.others = others

    def preview(
        self, path: Path, category: str, session: Session
    ) -> tuple[Image.Image, Image.Image | None, tuple[str, ...]]:
        if category == CATEGORIES[0]:
            return super().preview(path, category, session)
        return self.others.preview(path, category, session)

    def run(self, request: Request, session: Session) -> Iterator[Progress | Result]:
        if request.sampling.category == CATEGORIES[0]:
            return super().run(request, session)
        return self.others.run(request, session)


def _copy(path: Path, folder: Path, name: str) -> Path:
    """Into the job's folder, since another photograph's maps will take its place."""
    beside = path.with_name(f"{path.stem}_uv.npz")  # of the encoding labels_uv
    if beside.is_file():
        shutil.copy(beside, folder / f"{name}_uv.npz")
    return Path(shutil.copy(path, folder / f"{name}{path.suffix}"))


def _newest(news: "queue.Queue[Progress | None]") -> Progress | None:
    """Wait for news; what has piled up is told once."""
    newest = news.get()
    while newest is not None and not news.empty():
        newest = news.get()
    return newest


def _decode(address: str, path: Path) -> Path:
    """Write the image of a data address, drawn in the page, to a file.

    Raises:
        ValueError: it is something else.
    """
    try:
        path.write_bytes(base64.b64decode(address.partition(",")[2], validate=True))
    except ValueError as error:
        raise ValueError("The mask was not drawn by this page; brush it again") from error
    return path
