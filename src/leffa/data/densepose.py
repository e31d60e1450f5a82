"""DensePose files: the encodings of one body-surface map, and the mirror image of each."""

import zipfile
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.packed import Packed, pack
from leffa.data.part_colours import DARKEST_BODY, PART_COLOURS, PARTS
from leffa.io.pictures import check_exact, open_labels, open_picture, read_header

Pixels = NDArray[np.uint8]
PartRange = Literal[24, 255]

_ORDINALS = ("first", "second", "third")
# A mirrored image shows a left part where the right one was.
MIRROR = np.array([0, 1, 2, *(pair for k in range(3, 25, 2) for pair in (k + 1, k))], np.uint8)
# The limbs' charts are mirror images of each other, so a limb keeps its U and V. The torso charts
# run across the body in V, those of the hands and the halves of the head in U; these turn round.
# Measured on DeepFashion's IUV files: linear fits of U and V over each part, left against mirrored
# right. No sample shows feet.
_MIRRORED_U = np.isin(np.arange(PARTS + 1), (3, 4, 23, 24))
_MIRRORED_V = np.isin(np.arange(PARTS + 1), (1, 2))


class DensePoseEncoding(ABC):
    """How a DensePose file encodes the map.

    Pixels are uint8, (H, W, 3) or (H, W), as read and as resized by `resampling`.
    """

    resampling = Image.Resampling.NEAREST
    files: "DensePoseEncoding | None" = None  #: the encoding of the files, if it differs

    def read(self, path: Path) -> Image.Image:
        """The file as an image in this encoding; raises ValueError for a file of another kind."""
        if self.files is None:
            return self._open(path)
        image = self.files.read(path)
        if isinstance(self, IUVDensePose):
            return image  # in memory all of them are (I, U, V)
        parts = self.files.parts(np.asarray(image))
        shown = PART_COLOURS.astype(np.uint8)[parts] if isinstance(self, ColourDensePose) else parts
        return Image.fromarray(shown)

    @abstractmethod
    def _open(self, path: Path) -> Image.Image:
        """The file of this very encoding."""

    @abstractmethod
    def swap_sides(self, pixels: Pixels) -> Pixels:
        """The values, not yet the places, of the mirrored image: left parts for right ones."""

    @abstractmethod
    def encode(self, pixels: Pixels) -> Packed:
        """As the model reads it: three channels in [-1, 1], background -1."""

    @abstractmethod
    def parts(self, pixels: Pixels) -> Pixels:
        """(H, W) part ids."""

    def body(self, pixels: Pixels) -> NDArray[np.bool_]:
        """(H, W), True on the body."""
        return self.parts(pixels) > 0


class ColourDensePose(DensePoseEncoding):
    """VITON-HD's `image-densepose`: a colour per part on black, usually JPEG."""

    resampling = Image.Resampling.LANCZOS

    def _open(self, path: Path) -> Image.Image:
        return open_picture(path)

    def swap_sides(self, pixels: Pixels) -> Pixels:
        """Adds the difference of the two parts' colours: noise and soft edges stay as they are."""
        # Faster than indexing, which counts for a whole image.
        shift = np.take(PART_COLOURS[MIRROR] - PART_COLOURS, self.parts(pixels), axis=0)
        return np.clip(pixels + shift, 0, 255).astype(np.uint8)

    def encode(self, pixels: Pixels) -> Packed:
        """(H, W, 3) colours in [-1, 1]."""
        return pack(pixels)

    def parts(self, pixels: Pixels) -> Pixels:
        """(H, W) part ids by the nearest colour: JPEG noise rules out an exact match."""
        red, green, blue = np.moveaxis(pixels >> 2, -1, 0)
        parts: Pixels = _nearest_part()[red, green, blue]
        return parts

    def body(self, pixels: Pixels) -> NDArray[np.bool_]:
        red, green, blue = np.moveaxis(pixels, -1, 0)  # numpy's max of three takes 28 times as long
        brightest: Pixels = np.maximum(np.maximum(red, green), blue)
        return brightest >= DARKEST_BODY


class IUVDensePose(DensePoseEncoding):
    """An image whose channels are I (part id), U and V (0-255), encoded as (U, V, I), the order of
    the pose model (Leffa, `transform.py`).

    Args:
        order: of the file's channels, as red, green and blue: "iuv"; "vui" where OpenCV wrote
            I, U, V (it takes them for blue, green and red); or "ivu" (Leffa,
            `densepose_predictor.py`). Pixels in memory are always (I, U, V).
        part_range: I is divided by 24, as `transform.py` does for "pose_transfer", or by 255 like
            U and V: what the released demo feeds its pose model.
    """

    def __init__(self, order: str = "iuv", part_range: PartRange = 24) -> None:
        self.order = order
        self.part_range = part_range

    def _open(self, path: Path) -> Image.Image:
        picture = open_picture(path)
        part = self.order.index("i")
        highest = _highest(picture, part)
        if highest > PARTS:
            fitting = (o for o in ("iuv", "vui") if _highest(picture, o.index("i")) <= PARTS)
            raise ValueError(
                f"{path}: its {_ORDINALS[part]} channel reaches {highest}, not a part id (0-24); "
                f"choose densepose={next(fitting, 'none')}, or save it as RGB = (I, U, V)"
            )
        check_exact(read_header(path).format, path)
        if self.order == "iuv":
            return picture
        bands = picture.split()
        return Image.merge("RGB", [bands[self.order.index(channel)] for channel in "iuv"])

    def swap_sides(self, pixels: Pixels) -> Pixels:
        part, u, v = np.moveaxis(pixels, -1, 0)
        u = np.where(_MIRRORED_U[part], 255 - u, u)
        v = np.where(_MIRRORED_V[part], 255 - v, v)
        return np.stack([MIRROR[part], u, v], axis=-1)

    def encode(self, pixels: Pixels) -> Packed:
        """(H, W, 3) as (U, V, I): U and V in [-1, 1], I as `part_range` says."""
        turned = np.roll(pixels, -1)  # of all bytes in a row: six times as fast as by channel
        turned[..., 2] = pixels[..., 0]
        return pack(turned, 127.5, 127.5, self.part_range / 2)

    def parts(self, pixels: Pixels) -> Pixels:
        """The first channel."""
        return pixels[..., 0]


class LabelUVDensePose(IUVDensePose):
    """DressCode's `dense/*_5.png` with the `*_5_uv.npz` beside it, as one IUV map.

    The array `uv` is (2, H, W), U and V from 0 to 1 or, if it goes further, from 0 to 255: the
    release does not say.
    """

    def _open(self, path: Path) -> Image.Image:
        labels = np.asarray(LabelDensePose().read(path))
        uv = _read_uv(path.with_name(f"{path.stem}_uv.npz"), labels.shape)
        return Image.fromarray(np.stack([labels, *uv], axis=-1))


class LabelDensePose(DensePoseEncoding):
    """DressCode's `dense/*_5.png`: one part id per pixel, the same in all three channels, divided
    by 24, or by 255 as for the released DressCode model."""

    def __init__(self, part_range: PartRange = 24) -> None:
        self.part_range = part_range

    def _open(self, path: Path) -> Image.Image:
        image = open_labels(path)
        highest = _highest(image, 0)
        if highest > PARTS:
            raise ValueError(
                f"{path}: reaches {highest}, not a part id (0-24); "
                "use the dataset's `dense` label map"
            )
        return image

    def swap_sides(self, pixels: Pixels) -> Pixels:
        return MIRROR[pixels]

    def encode(self, pixels: Pixels) -> Packed:
        """(H, W, 3), part ids in all channels, as `part_range` says."""
        return pack(pixels[..., None], *[self.part_range / 2] * 3)

    def parts(self, pixels: Pixels) -> Pixels:
        return pixels


ENCODINGS = ("colour", "iuv", "vui", "ivu", "labels", "labels_uv")
_WITH_UV = ("iuv", "vui", "ivu", "labels_uv")


def can_convert(files: str, encoding: str) -> bool:
    """Whether files of one encoding hold exactly what the other would: parts and surface
    coordinates give the parts, and parts give their colours. Not the reverse: JPEG blurs colours.
    """
    if files in _WITH_UV:
        return encoding in ENCODINGS
    return encoding == files or (files, encoding) == ("labels", "colour")


def densepose_encoding(
    name: str, part_range: PartRange = 24, files: str | None = None
) -> DensePoseEncoding:
    """The encoding of that name, one of `ENCODINGS`; `files` says where the files have another.

    Raises:
        ValueError: there is no such encoding or range, or the files do not hold what it needs.
    """
    if files is not None and files != name:
        if not can_convert(files, name):
            raise ValueError(
                f"densepose={name}: cannot be made of {files} files, which do not hold all of it"
            )
        encoding = densepose_encoding(name, part_range)
        encoding.files = densepose_encoding(files)
        return encoding
    if part_range not in (PARTS, 255):
        raise ValueError(f"part_range={part_range}: choose 24, or 255 as the released demo does")
    match name:
        case "colour":
            return ColourDensePose()
        case "labels":
            return LabelDensePose(part_range)
        case "labels_uv":
            return LabelUVDensePose(part_range=part_range)
        case "iuv" | "vui" | "ivu":
            return IUVDensePose(name, part_range)
    raise ValueError(f"densepose={name}: choose one of {', '.join(ENCODINGS)}")


def _highest(picture: Image.Image, band: int) -> int:
    highest: int = np.asarray(picture.getchannel(band)).max()
    return highest


def _read_uv(path: Path, size: tuple[int, ...]) -> Pixels:
    """(2, H, W) U and V as bytes."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            uv = arrays["uv"]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such file; extract the dataset's archive again, or choose densepose=labels"
        ) from error
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: holds no array `uv` ({error}); use a good copy or densepose=labels"
        ) from error
    if uv.shape != (2, *size):
        raise ValueError(
            f"{path}: uv {uv.shape} does not fit the label map of {size[1]}x{size[0]}; "
            "use files of one release"
        )
    scale = 255.0 if np.nanmax(uv, initial=0) <= 1 else 1.0
    pixels: Pixels = np.nan_to_num(uv * scale).round().clip(0, 255).astype(np.uint8)
    return pixels


@cache
def _nearest_part() -> Pixels:
    """(64, 64, 64), the part nearest to each colour of 6 bits per channel: faster than a search."""
    axis = np.arange(64) * 4 + 2
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    best = np.full(grid.shape[:3], np.iinfo(np.int64).max)
    nearest = np.zeros(grid.shape[:3], np.uint8)
    for part, colour in enumerate(PART_COLOURS):
        distance = ((grid - colour) ** 2).sum(axis=-1)
        nearest[distance < best] = part
        np.minimum(best, distance, out=best)
    return nearest
