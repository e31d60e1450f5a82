"""The opened files of one person, each read at most once, checked, and laid on the canvas."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.batch import Record
from leffa.data.densepose import DensePoseEncoding
from leffa.data.fit import Placement, same_shape
from leffa.data.keypoints import read_pose
from leffa.data.labels import LabelSet
from leffa.data.recipe import PersonMaps
from leffa.io.pictures import open_labels, open_picture


class PersonFiles:
    """The files of a record, opened on demand; `photograph` reads its source."""

    _REMEDIES: ClassVar = {
        "mask": "give `agnostic` a recipe that builds the mask from parse and keypoints",
        "densepose": "give its files, or weights that read none",
        "parse": "choose a mask file and a loss region that do without it",
        "keypoints": "choose a mask file, a densepose and pose=false, which do without them",
    }

    def __init__(
        self, record: Record, photograph: Callable[[Path], Image.Image] = open_picture
    ) -> None:
        self.record = record
        self.source = photograph(record.source)
        self._body_map: Image.Image | None = None

    def require(self, field: Literal["mask", "densepose", "parse", "keypoints"]) -> None:
        """Raise ValueError, with the remedy, where the dataset has no such file."""
        if getattr(self.record, field) is None:
            raise ValueError(
                f"{self.record.source}: the dataset has no {field} file for it; "
                f"{self._REMEDIES[field]}"
            )

    def open(
        self, field: Literal["mask", "densepose", "parse"], read: Callable[[Path], Image.Image]
    ) -> Image.Image:
        """The file of this field, of the person's size.

        DensePose may have another resolution: photographs are resized, and the maps need not be.
        """
        self.require(field)
        path: Path = getattr(self.record, field)
        image = read(path)
        check_same_size(
            image, path, self.source, self.record.source, any_resolution=field == "densepose"
        )
        return image

    @cached_property
    def labels(self) -> Image.Image:
        """The parse as it lies on disk."""
        return self.open("parse", open_labels)

    def parse(self, placement: Placement) -> NDArray[np.uint8]:
        """(H, W) of the canvas; 0 around the image."""
        return np.asarray(placement.place(self.labels, Image.Resampling.NEAREST))

    @cached_property
    def keypoints(self) -> NDArray[np.float32]:
        """(25, 3) BODY_25 of the person of the parse, in fractions of the image."""
        self.require("keypoints")
        assert self.record.keypoints is not None
        body = None if self.record.parse is None else lambda: np.asarray(self.labels) > 0
        return read_pose(self.record.keypoints, self.source.size, body)

    def body_map(self, encoding: DensePoseEncoding) -> Image.Image:
        """The DensePose as it lies on disk."""
        if self._body_map is None:
            self._body_map = self.open("densepose", encoding.read)
        return self._body_map

    def maps(
        self, size: tuple[int, int], label_set: LabelSet, encoding: DensePoseEncoding | None
    ) -> PersonMaps:
        """The maps that a mask is made from, at a size (width, height) of the whole image."""
        whole = Placement(self.source.size, size, 0, 0, *size)
        keypoints = densepose = None
        if self.record.keypoints is not None:
            keypoints = self.keypoints * np.array((*size, 1), np.float32)
        if encoding is not None and self.record.densepose is not None:
            body = whole.place(self.body_map(encoding), Image.Resampling.NEAREST)
            densepose = encoding.parts(np.asarray(body))
        return PersonMaps(self.parse(whole), keypoints, self.record.category, label_set, densepose)


def check_same_size(
    image: Image.Image,
    path: Path,
    source: Image.Image,
    source_path: Path,
    any_resolution: bool = False,
) -> None:
    """Raise ValueError, naming both files, where two images of one person differ in size, or in
    shape with `any_resolution`."""
    if image.size != source.size and not (any_resolution and same_shape(image.size, source.size)):
        raise ValueError(
            f"{path} is {image.width}x{image.height} but {source_path} is "
            f"{source.width}x{source.height}; use files of one release, all of one size"
        )
