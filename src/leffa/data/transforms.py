"""From the files of a record to tensors: resize, mask, DensePose, loss region, joint mirror.

Everything stays uint8 until the end, and the mirror image is taken last, of all maps at once, so
they cannot disagree.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leffa.data.batch import Record
from leffa.data.densepose import ColourDensePose, DensePoseEncoding, IUVDensePose, LabelDensePose
from leffa.data.flow import mirror_flow, read_flow, resize_flow
from leffa.data.images import check_same_size, open_labels, open_mask, open_picture, to_tensor
from leffa.data.keypoints import BODY_25_MIRROR, read_keypoints
from leffa.data.labels import GARMENT_LABELS, LabelSet
from leffa.data.layout import check_choice
from leffa.data.skeleton import draw_skeleton

# From parse (H, W), label ids, and keypoints (25, 3), BODY_25 in pixels, to a mask (H, W), True =
# generate.
AgnosticRecipe = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.bool_]]
Region = NDArray[np.bool_]
BodyMap = Literal["colour", "iuv", "labels", "skeleton", "none"]
LossRegion = Literal["mask", "garment", "foreground", "all"]

DENSEPOSE: dict[str, DensePoseEncoding] = {
    "colour": ColourDensePose(),
    "iuv": IUVDensePose(),
    "labels": LabelDensePose(),
}
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


class Sample(TypedDict):
    """One sample: the keys of `Batch` without the leading B."""

    source: Tensor  # (3, H, W)
    reference: Tensor  # (3, H, W)
    mask: Tensor  # (1, H, W)
    densepose: Tensor  # (3, H, W)
    loss_region: Tensor  # (1, H, W)
    name: str
    category: str
    flow: NotRequired[Tensor]  # (H, W, 2)
    flow_valid: NotRequired[Tensor]  # (1, H, W)


@dataclass(frozen=True)
class PersonTransform:
    """Opens a record's files and makes its sample: `transform(record, rng)`.

    Pictures are resized straight to (width, height), as all published try-on code does. Masks are
    resized like pictures and cut at 0.5 (Leffa, `transform.py`); label maps and IUV by nearest.

    Args:
        height: of the sample, in pixels.
        width: of the sample, in pixels.
        task: "tryon", or "pose": the whole source is generated (the mask is all ones).
        densepose: how `record.densepose` is encoded: "colour", "iuv" or "labels"; "skeleton" draws
            `record.keypoints` instead, and "none" gives -1 everywhere.
        agnostic: builds the try-on mask from parse and keypoints (a function of
            `preprocess.agnostic`); None reads the mask file.
        loss_region: where the warped reference must equal the target: "mask" (Leffa, Eq. 4; the
            default for try-on), "garment" (the part of the mask where the person wears the garment,
            by `record.parse`), "foreground" (the body by DensePose, or by parse where there is
            none; the default for pose transfer) or "all".
        label_set: of `record.parse`: "cihp" (VITON-HD), "lip" (VITON) or "atr" (DressCode).
        image_filter: resizes photographs: "lanczos", "bicubic" or "bilinear".
        flip: probability of mirroring the whole sample, source and reference together.
    """

    height: int
    width: int
    task: Literal["tryon", "pose"] = "tryon"
    densepose: BodyMap = "colour"
    agnostic: AgnosticRecipe | None = None
    loss_region: LossRegion | None = None
    label_set: LabelSet = "cihp"
    image_filter: Literal["lanczos", "bicubic", "bilinear"] = "lanczos"
    flip: float = 0.0

    def __post_init__(self) -> None:
        check_choice("task", self.task, ("tryon", "pose"))
        check_choice("densepose", self.densepose, (*DENSEPOSE, "skeleton", "none"))
        check_choice("loss_region", self.region, ("mask", "garment", "foreground", "all"))
        check_choice("label_set", self.label_set, GARMENT_LABELS)
        check_choice("image_filter", self.image_filter, FILTERS)
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip={self.flip}: is a probability; give a number from 0 to 1")
        if min(self.height, self.width) < 2:
            raise ValueError(
                f"height={self.height}, width={self.width}: give at least 2 pixels each"
            )

    @property
    def region(self) -> LossRegion:
        """The loss region in force."""
        return self.loss_region or ("foreground" if self.task == "pose" else "mask")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), PIL's order."""
        return self.width, self.height

    def __call__(self, record: Record, rng: random.Random) -> Sample:
        """The sample of a record; `rng` decides whether it is mirrored.

        Raises:
            FileNotFoundError: a file is gone.
            ValueError: a file is unreadable or of the wrong kind or size, or the record lacks one
                that this transform needs.
        """
        mirror = rng.random() < self.flip
        files = _Files(record, self.size)
        reference = open_picture(record.reference)
        mask = self._mask(files)
        densepose, body = self._densepose(files, mirror)
        sample = Sample(
            source=self._picture(files.source),
            reference=self._picture(reference),
            mask=_binary(mask),
            densepose=densepose,
            loss_region=_binary(self._loss_region(files, mask, body)),
            name=record.name,
            category=record.category,
        )
        if record.flow is not None:
            flow, valid = read_flow(record.flow, files.source.size)
            flow, sample["flow_valid"] = resize_flow(flow, valid, self.size, reference.size)
            sample["flow"] = flow.permute(1, 2, 0)
        return mirrored(sample) if mirror else sample

    def _picture(self, image: Image.Image) -> Tensor:
        return to_tensor(np.array(image.resize(self.size, FILTERS[self.image_filter])))

    def _mask(self, files: "_Files") -> Region:
        if self.task == "pose":
            return np.ones((self.height, self.width), np.bool_)
        if self.agnostic is None:
            mask = files.open("mask", open_mask)
            return np.asarray(mask.resize(self.size, FILTERS[self.image_filter])) >= 128
        pixels = np.array((self.width, self.height, 1), np.float32)
        try:
            return self.agnostic(files.parse, files.keypoints * pixels)
        except ValueError as error:
            raise ValueError(f"{files.record.source}: {error}") from error

    def _densepose(self, files: "_Files", mirror: bool) -> tuple[Tensor, Region | None]:
        """The encoded map, sides swapped if it will be mirrored, and where it shows the body."""
        if self.densepose == "none":
            return torch.full((3, self.height, self.width), -1.0), None
        if self.densepose == "skeleton":
            joints = files.keypoints[list(BODY_25_MIRROR)] if mirror else files.keypoints
            return to_tensor(draw_skeleton(joints, self.size)), None
        encoding = DENSEPOSE[self.densepose]
        image = files.open("densepose", encoding.read)
        if mirror:
            image = Image.fromarray(encoding.swap_sides(np.asarray(image)))
        pixels = np.array(image.resize(self.size, encoding.resampling))
        return encoding.encode(pixels), encoding.body(pixels)

    def _loss_region(self, files: "_Files", mask: Region, body: Region | None) -> Region:
        match self.region:
            case "mask":
                return mask
            case "garment":
                category = files.record.category
                labels = GARMENT_LABELS[self.label_set].get(category)
                if labels is None:
                    raise ValueError(
                        f"{files.record.source}: loss_region=garment has no labels for category "
                        f"{category}; choose loss_region=mask"
                    )
                return mask & np.isin(files.parse, labels)
            case "foreground":
                return files.parse > 0 if body is None else body
            case "all":
                return np.ones_like(mask)


class _Files:
    """The opened files of one person, each read at most once and all of one size."""

    _REMEDIES: ClassVar = {
        "mask": "give `agnostic` a recipe that builds the mask from parse and keypoints",
        "densepose": "choose densepose=skeleton or densepose=none",
        "parse": "choose a mask file and a loss region that do without it",
        "keypoints": "choose a mask file and a densepose that do without them",
    }

    def __init__(self, record: Record, size: tuple[int, int]) -> None:
        self.record = record
        self._size = size
        self.source = open_picture(record.source)

    def path(self, field: Literal["mask", "densepose", "parse", "keypoints"]) -> Path:
        path: Path | None = getattr(self.record, field)
        if path is None:
            raise ValueError(
                f"{self.record.source}: the data set has no {field} file for it; "
                f"{self._REMEDIES[field]}"
            )
        return path

    def open(
        self, field: Literal["mask", "densepose", "parse"], read: Callable[[Path], Image.Image]
    ) -> Image.Image:
        path = self.path(field)
        image = read(path)
        check_same_size(image, path, self.source, self.record.source)
        return image

    @cached_property
    def parse(self) -> NDArray[np.uint8]:
        """(H, W), at the sample's size."""
        return np.asarray(
            self.open("parse", open_labels).resize(self._size, Image.Resampling.NEAREST)
        )

    @cached_property
    def keypoints(self) -> NDArray[np.float32]:
        """(25, 3), in fractions of the picture."""
        return read_keypoints(self.path("keypoints"), self.source.size)


def mirrored(sample: Sample) -> Sample:
    """The sample in a mirror. DensePose is only moved: its sides are swapped where it is read."""
    result = sample.copy()
    for key in ("source", "reference", "mask", "densepose", "loss_region"):
        result[key] = sample[key].flip(-1)
    if "flow" in sample and "flow_valid" in sample:
        result["flow"] = mirror_flow(sample["flow"].permute(2, 0, 1)).permute(1, 2, 0)
        result["flow_valid"] = sample["flow_valid"].flip(-1)
    return result


def _binary(region: Region) -> Tensor:
    return torch.from_numpy(region)[None].float()
