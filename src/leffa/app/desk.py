"""From what the page sends to an order, and from an order to progress: the counter of a studio.

Uploads are checked and copied into the session's folder here, upright and without their metadata,
so that all behind this sees clean files.
"""

import base64
import binascii
import hashlib
import io
import queue
import shutil
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from leffa.app.limits import Limits, as_photograph, open_upload
from leffa.app.maps import MapMaker, Maps, save_input, take_input
from leffa.app.sessions import Session
from leffa.app.studio import Made, Order, Studio, picture_names
from leffa.io.pictures import open_mask

_POLL = 0.2  # seconds between two looks at the work


@dataclass(frozen=True)
class Progress:
    """So many of so many denoising steps are done; `left` is in seconds, None before the first."""

    done: int
    steps: int
    left: float | None


@dataclass(frozen=True)
class Wish:
    """What the page sends for a picture: paths of uploads, and the values of its sliders.

    Args:
        mask: a picture as a data address, drawn in the page; or the path of an upload.
        sampling: the fields of `Order` that are no files.
    """

    person: Path | None
    reference: Path | None
    mask: str | Path | None
    densepose: Path | None
    sampling: dict[str, Any]


@dataclass(frozen=True)
class Look:
    """A person's photograph, its mask if one could be made, and what could not be made and why."""

    picture: Image.Image
    mask: Image.Image | None
    remarks: tuple[str, ...]


class Desk:
    """Takes wishes for one studio."""

    def __init__(self, studio: Studio, maps: MapMaker) -> None:
        self.studio = studio
        self.maps = maps

    @property
    def task(self) -> str:
        """ "tryon" or "pose"."""
        return self.studio.task

    @property
    def limits(self) -> Limits:
        """Of uploads."""
        return self.studio.limits

    def photograph(self, path: Path, field: str) -> Image.Image:
        """An upload as an upright RGB picture; `field` is that of a `Record`.

        Raises:
            ValueError: it is refused; one line.
        """
        return as_photograph(open_upload(path, self.limits, picture_names(self.task)[field]))

    def look(self, path: Path, category: str, session: Session) -> Look:
        """A person's photograph, and what can be made of it.

        Raises:
            ValueError: the photograph is refused.
        """
        picture = self.photograph(path, "source")
        with session.mapping:
            maps = self._maps(picture, category, session)
            mask = None if maps.mask is None else open_mask(maps.mask)
        return Look(picture, mask, maps.remarks)

    def order(self, wish: Wish, session: Session, folder: Path) -> Order:
        """The order of a wish, with its files in `folder`, a new one of the session.

        Raises:
            ValueError: something is missing or refused; one line with the remedy.
        """
        names = picture_names(self.task)
        for field in ("person", "reference"):
            if getattr(wish, field) is None:
                name = names["source" if field == "person" else field]
                raise ValueError(f"{name} is missing; upload one, or choose an example")
        assert wish.person is not None and wish.reference is not None
        replace(Order(Path(), Path()), **wish.sampling).check(self.limits)
        person = self.photograph(wish.person, "source")
        reference = self.photograph(wish.reference, "reference")
        reference_file = folder / "reference.png"
        save_input(reference, reference_file)
        with session.mapping:
            made = self._maps(person, wish.sampling["category"], session)
            person_file = take_input(made.photo, folder / "person.png")
            maps: dict[str, Any] = {
                "mask": self._mask(wish, made, person, folder),
                "densepose": self._densepose(wish, made, folder),
                "keypoints": self._keypoints(made, folder),
            }
        return Order(person_file, reference_file, **maps, **wish.sampling)

    def work(self, wish: Wish, session: Session) -> Iterator[Progress | Made]:
        """Make the picture of a wish; ends with what was made.

        The work stops after the maps, or before its next step, when the iterator is closed or the
        session stops it; where nothing is made, no file stays. Its time begins here.

        Raises:
            Stopped: it was stopped.
            ValueError: see `order` and `Studio.make`.
        """
        began = time.monotonic()
        with session.running(self.task) as stop:
            folder = session.new_folder()
            try:
                order = self.order(wish, session, folder)
                made = yield from self._work(order, folder, stop, began)
            except BaseException:  # the iterator's end too
                shutil.rmtree(folder, ignore_errors=True)
                raise
            session.keep(self.task, made)
            yield made

    def _work(
        self, order: Order, folder: Path, stop: threading.Event, began: float
    ) -> Generator[Progress, None, Made]:
        news: queue.Queue[tuple[int, int]] = queue.Queue()

        def tell(done: int, steps: int) -> None:
            news.put((done, steps))

        start = time.monotonic()
        yield Progress(0, order.steps, None)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.studio.make, order, folder, tell, stop, began)
            try:
                yield from _progress(news, future, start)
            finally:
                stop.set()  # before the pool waits for the thread
        return future.result()

    def _maps(self, picture: Image.Image, category: str, session: Session) -> Maps:
        """The maps of a photograph, made once while it stays the same.

        `session.mapping` must be held: another photograph's maps take their place.
        """
        pixels = picture.size, hashlib.sha256(picture.tobytes()).hexdigest()
        key = (self.task, *pixels, category)
        known = session.maps.get(self.task)
        if known is None or known[0] != key:
            folder = session.folder / f"{self.task}_maps"
            known = session.maps[self.task] = key, self.maps.make(picture, category, folder)
        return known[1]

    def _mask(self, wish: Wish, made: Maps, person: Image.Image, folder: Path) -> Path | None:
        if self.task != "tryon":
            return None
        if wish.mask is None:
            if made.mask is None:
                remark = next((r for r in made.remarks if "mask" in r), "")
                raise ValueError(f"What is to be repainted is not known. {remark}".strip())
            return _copy(made.mask, folder)
        if isinstance(wish.mask, Path):
            mask = open_upload(wish.mask, self.limits, "The mask").convert("L")
        else:
            mask = picture_of_address(wish.mask, self.limits)
        if not (np.asarray(mask) >= 128).any():
            raise ValueError("The mask is empty; brush over what is to be repainted")
        path = folder / "mask.png"
        # Drawn on a smaller copy of the photograph.
        if isinstance(wish.mask, str):
            mask = mask.resize(person.size, Image.Resampling.BILINEAR)
            mask = mask.point([0] * 128 + [255] * 128)
        save_input(mask, path)
        return path

    def _densepose(self, wish: Wish, made: Maps, folder: Path) -> Path | None:
        if not self.studio.needs_densepose or wish.sampling.get("without_densepose"):
            return None
        if wish.densepose is not None:
            path = folder / "densepose.png"
            save_input(open_upload(wish.densepose, self.limits, "The DensePose map"), path)
            return path
        if made.densepose is None:
            remark = next((r for r in made.remarks if "DensePose" in r), made.remarks[0])
            raise ValueError(f"{remark} Or tick “Without DensePose”, at a cost in quality.")
        return _copy(made.densepose, folder)

    def _keypoints(self, made: Maps, folder: Path) -> Path | None:
        if not self.studio.needs_keypoints:
            return None
        if made.keypoints is None:
            raise ValueError(made.remarks[0])
        return _copy(made.keypoints, folder)


def _copy(path: Path, folder: Path) -> Path:
    """Into the order's folder, since another photograph's maps will take its place."""
    target = folder / f"{path.parent.name}{path.suffix}"
    beside = path.with_name(f"{path.stem}_uv.npz")  # of the encoding labels_uv
    if beside.is_file():
        take_input(beside, target.with_name(f"{target.stem}_uv.npz"))
    return take_input(path, target)


def _progress(
    news: "queue.Queue[tuple[int, int]]", future: "Future[Made]", start: float
) -> Iterator[Progress]:
    while not future.done():
        try:
            done, steps = news.get(timeout=_POLL)
        except queue.Empty:
            continue
        while not news.empty():
            done, steps = news.get()
        spent = time.monotonic() - start
        yield Progress(done, steps, spent / done * (steps - done))


def picture_of_address(address: str, limits: Limits) -> Image.Image:
    """The mask that the page's brush drew: a PNG as a data address, to mode L.

    Raises:
        ValueError: it is something else, or too large.
    """
    head, _, body = address.partition(",")
    if head != "data:image/png;base64" or len(body) > limits.bytes:
        raise ValueError("The mask was not drawn by this page; brush it again")
    try:
        content = base64.b64decode(body, validate=True)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > limits.megapixels * 1e6:
                raise ValueError("too many pixels")
            return image.convert("L")
    except (
        binascii.Error,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError("The mask was not drawn by this page; brush it again") from error
