"""From the files of a record to tensors: placed on the canvas, masked, augmented.

Everything stays uint8 until the end. One `Placement` moves all maps of an image, and mirroring
comes last, for all maps at once, so they stay aligned.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leffa.data.augment import Augmentation, Draw
from leffa.data.batch import Record
from leffa.data.densepose import (
    ENCODINGS,
    DensePoseEncoding,
    PartRange,
    densepose_encoding,
)
from leffa.data.files import PersonFiles, check_same_size
from leffa.data.fit import WHITE, Fit, Placement, fit_picture
from leffa.data.flow import mirror_flow, place_flow, read_flow
from leffa.data.keypoints import BODY_25_MIRROR
from leffa.data.labels import GARMENT_LABELS, LabelSet
from leffa.data.layout import check_choice
from leffa.data.matches import matches_inside, mirror_matches, place_matches, read_matches
from leffa.data.packed import Packed, pack, unpack
from leffa.data.pose import draw_skeleton, pose_tensor
from leffa.data.recipe import AgnosticRecipe, agnostic_mask
from leffa.io.numbers import check_count
from leffa.io.pictures import open_mask, open_photograph, open_picture

Sample = dict[str, Any]
"""The keys of `Batch`, its tensors without the leading B, and `name` and `category` as text."""

Region = NDArray[np.bool_]
BodyMap = Literal["colour", "iuv", "vui", "ivu", "labels", "labels_uv", "skeleton", "none"]
LossRegion = Literal["mask", "garment", "foreground", "all"]

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


@dataclass(frozen=True)
class PersonTransform:
    """Opens a record's files and makes its sample: `transform(record, rng)`.

    Masks are resized like images and thresholded at 0.5 (Leffa, `transform.py`); label maps and IUV
    use nearest-neighbour resizing. Padding is white for photographs, 0 for the try-on mask and the
    loss region, and background for DensePose.

    Args:
        height, width: of the sample, in pixels.
        task: "tryon", or "pose": the whole source is generated (the mask is all ones).
        densepose: how the model reads `record.densepose` (`data.densepose`); "skeleton" draws
            `record.keypoints` instead, and "none" gives -1 everywhere.
        densepose_files: how the files are encoded, where that is not how the model reads them.
        part_range: what divides part ids: 24, or 255 as the released demo does.
        pose: adds the pose tensor (`data.pose`), drawn from `record.keypoints`.
        agnostic: builds the try-on mask from parse, keypoints and DensePose (a function of
            `preprocess.agnostic`); None reads the mask file.
        loss_region: where the warped reference must equal the target: "mask" (Leffa, Eq. 4; the
            default for try-on), "garment" (the part of the mask where the person wears the garment,
            by `record.parse`), "foreground" (the body by DensePose, or by parse where there is
            none; the default for pose transfer) or "all".
        label_set: of `record.parse`.
        image_filter: resizes photographs.
        fit: "stretch" brings images to the sample's shape, as all published try-on code does;
            "pad" keeps their own. `data.fit.unpad` undoes it for results.
        flip: probability of mirroring the whole sample, source and reference together.
        scale: largest zoom, in or out, as a fraction: 0.2 zooms by 0.8 to 1.2.
        shift: largest shift, as a fraction of the width and of the height.
        colour: largest change of brightness, contrast and saturation, as a fraction; the same for
            source and reference.
        moves: what zoom and shift move: "source", the person with all its maps (Choi et al.), or
            "both", the reference likewise.
        as_shown: photographs are read as a viewer shows them, upright and in sRGB: a user's. False
            reads what is stored, as published code does, and refuses turned files.
    """

    height: int
    width: int
    task: Literal["tryon", "pose"] = "tryon"
    densepose: BodyMap = "colour"
    densepose_files: BodyMap | None = None
    part_range: PartRange = 24
    pose: bool = False
    agnostic: AgnosticRecipe | None = None
    loss_region: LossRegion | None = None
    label_set: LabelSet = "cihp"
    image_filter: Literal["lanczos", "bicubic", "bilinear"] = "lanczos"
    fit: Fit = "stretch"
    flip: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    colour: float = 0.0
    moves: Literal["source", "both"] = "source"
    as_shown: bool = False

    def __post_init__(self) -> None:
        check_choice("task", self.task, ("tryon", "pose"))
        check_choice("densepose", self.densepose, (*ENCODINGS, "skeleton", "none"))
        if self.densepose_files is not None:
            check_choice("densepose_files", self.densepose_files, ENCODINGS)
        check_choice("loss_region", self.region, ("mask", "garment", "foreground", "all"))
        check_choice("label_set", self.label_set, GARMENT_LABELS)
        check_choice("image_filter", self.image_filter, FILTERS)
        check_choice("fit", self.fit, ("stretch", "pad"))
        check_choice("moves", self.moves, ("source", "both"))
        check_count("height", self.height, least=2)
        check_count("width", self.width, least=2)
        _ = self.augmentation, self.encoding  # their own checks, before any file is opened

    @property
    def region(self) -> LossRegion:
        """The loss region in force."""
        return self.loss_region or ("foreground" if self.task == "pose" else "mask")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), PIL's order."""
        return self.width, self.height

    @property
    def open_photograph(self) -> Callable[[Path], Image.Image]:
        """Reads the source and the reference."""
        return open_photograph if self.as_shown else open_picture

    @cached_property
    def augmentation(self) -> Augmentation:
        return Augmentation(self.flip, self.scale, self.shift, self.colour)

    @cached_property
    def encoding(self) -> DensePoseEncoding | None:
        """Of the DensePose that the model reads; None where it reads none."""
        if self.densepose in ("skeleton", "none"):
            return None
        return densepose_encoding(self.densepose, self.part_range, self.densepose_files)

    @cached_property
    def file_encoding(self) -> DensePoseEncoding | None:
        """Of the DensePose files, which masks and loss regions are made from, whatever the model
        reads; None where there are none."""
        if self.encoding is None and self.densepose_files is not None:
            return densepose_encoding(self.densepose_files)
        return self.encoding

    def without_augmentation(self) -> "PersonTransform":
        """The same without random changes: for validation and evaluation."""
        return replace(self, flip=0.0, scale=0.0, shift=0.0, colour=0.0)

    def __call__(self, record: Record, rng: random.Random) -> Sample:
        """The sample of a record; `rng` decides what the augmentation does to it.

        Raises:
            FileNotFoundError, ValueError: a file is gone, unreadable, or of the wrong kind or size,
                or the record lacks one that this transform needs.
        """
        sample: Sample = unpack(self.packed(record, rng))
        return sample

    def packed(self, record: Record, rng: random.Random) -> Sample:
        """The same before it is unpacked (`data.packed`)."""
        draw = self.augmentation.draw(rng)
        files = PersonFiles(record, self.open_photograph)
        reference = self.open_photograph(record.reference)
        here, there = self._placements(files.source, reference, draw)
        mask = self._mask(files, here)
        densepose, body = self._densepose(files, here, draw.mirror)
        target = files if record.truth is None else self._target(files)
        region = self._loss_region(target, here, mask, body)
        generated = _plane(mask)
        sample: Sample = {
            "source": self._picture(files.source, here, draw),
            "reference": self._picture(reference, there, draw),
            "mask": generated,
            "densepose": densepose,
            "loss_region": generated if region is mask else _plane(region),
            "name": record.name,
            "category": record.category,
        }
        if self.pose:
            sample["pose"] = pose_tensor(_joints(files, here, draw.mirror), self.size)
        if record.truth is not None:
            sample["truth"] = self._picture(target.source, here, draw)
        if record.flow is not None:
            flow, valid = read_flow(record.flow, files.source.size)
            flow, valid = place_flow(flow, valid, here, there)
            if record.truth is not None:  # the mask follows the own garment; no other place changes
                valid = valid * generated
            sample["flow"], sample["flow_valid"] = flow.permute(1, 2, 0), valid
        if record.matches is not None:
            found = read_matches(record, (files.source.size, reference.size))
            sample["matches"] = matches_inside(place_matches(found, here, there), generated)
        return mirrored(sample) if draw.mirror else sample

    def _target(self, files: PersonFiles) -> PersonFiles:
        """The files of the true image, which differs from the source."""
        target = PersonFiles(files.record.target(), self.open_photograph)
        pictures = target.source, target.record.source, files.source, files.record.source
        check_same_size(*pictures)
        return target

    def _placements(
        self, source: Image.Image, reference: Image.Image, draw: Draw
    ) -> tuple[Placement, Placement]:
        here, there = (
            fit_picture(image.size, self.size, self.fit) for image in (source, reference)
        )
        if not draw.moves:
            return here, there
        moved = there.moved(draw.zoom, draw.shift) if self.moves == "both" else there
        return here.moved(draw.zoom, draw.shift), moved

    def _picture(self, image: Image.Image, placement: Placement, draw: Draw) -> Packed:
        canvas = placement.place(image, FILTERS[self.image_filter], WHITE)
        return pack(np.asarray(draw.recolour(canvas)))

    def _mask(self, files: PersonFiles, placement: Placement) -> Region:
        if self.task == "pose":
            return np.ones((self.height, self.width), np.bool_)
        if self.agnostic is None:
            mask = files.open("mask", open_mask)
        else:
            mask = Image.fromarray(self._recipe(files, self.agnostic)).convert("L")
        return np.asarray(placement.place(mask, FILTERS[self.image_filter])) >= 128

    def _recipe(self, files: PersonFiles, agnostic: AgnosticRecipe) -> Region:
        """The mask of the whole image, at the size that it has on the canvas before it moves."""
        fitted = fit_picture(files.source.size, self.size, self.fit)
        size = round(fitted.width), round(fitted.height)
        person = files.maps(size, self.label_set, self.file_encoding)
        try:
            return agnostic_mask(agnostic, person)
        except ValueError as error:
            raise ValueError(f"{files.record.source}: {error}") from error

    def _densepose(
        self, files: PersonFiles, placement: Placement, mirror: bool
    ) -> tuple[Packed, Region | None]:
        """The encoded map, sides swapped if it will be mirrored, and where it shows the body, for a
        loss region that is made from that."""
        read, body = pack(np.zeros((self.height, self.width, 1), np.uint8)), None
        encoding = self.file_encoding
        if encoding is not None and (self.encoding is not None or self.region == "foreground"):
            image = files.body_map(encoding)
            if mirror:
                image = Image.fromarray(encoding.swap_sides(np.asarray(image)))
            pixels = np.asarray(placement.place(image, encoding.resampling))
            if self.region == "foreground":
                body = encoding.body(pixels)
            if self.encoding is not None:
                read = encoding.encode(pixels)
        if self.densepose == "skeleton":
            read = pack(draw_skeleton(_joints(files, placement, mirror), self.size))
        return read, body

    def _loss_region(
        self, files: PersonFiles, placement: Placement, mask: Region, body: Region | None
    ) -> Region:
        match self.region:
            case "mask":
                return mask if placement.fills else mask & placement.covered()
            case "garment":
                category = files.record.category
                labels = GARMENT_LABELS[self.label_set].get(category)
                if labels is None:
                    raise ValueError(
                        f"{files.record.source}: loss_region=garment has no labels for category "
                        f"{category}; choose loss_region=mask"
                    )
                return mask & np.isin(files.parse(placement), labels)
            case "foreground":
                return files.parse(placement) > 0 if body is None else body
            case "all":
                return placement.covered()


def mirrored(sample: Sample) -> Sample:
    """The mirrored sample. DensePose and pose are only moved: their sides are swapped when they
    are read."""
    result = sample.copy()
    pictures = ("source", "reference", "mask", "densepose", "loss_region", "pose", "truth")
    for key in (*pictures, "flow_valid"):
        if key in sample:
            found: Packed | Tensor = sample[key]
            result[key] = found.mirrored() if isinstance(found, Packed) else found.flip(-1)
    if "flow" in sample:
        result["flow"] = mirror_flow(sample["flow"].permute(2, 0, 1)).permute(1, 2, 0)
    if "matches" in sample:
        result["matches"] = mirror_matches(sample["matches"])
    return result


def _joints(files: PersonFiles, placement: Placement, mirror: bool) -> NDArray[np.float32]:
    """(25, 3) in fractions of the canvas, sides swapped if the sample will be mirrored."""
    joints = files.keypoints[list(BODY_25_MIRROR)] if mirror else files.keypoints
    return placement.points(joints)


def _plane(region: Region) -> Tensor:
    return torch.from_numpy(region)[None]
