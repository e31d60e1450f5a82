"""What each kind of file can hold, checked one file at a time in worker processes without torch."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from leffa.data.catalog.spec import unpaired_name
from leffa.data.keypoints import FRACTIONS, NOBODY, People, near_body, read_people
from leffa.data.leaks import fingerprint
from leffa.data.part_colours import DARKEST_BODY, PART_COLOURS, PARTS
from leffa.io.colour import SRGB, profile_name
from leffa.io.pictures import FEWEST_COLOURS, LOSSY, UNREADABLE, is_transparent, orientation

Pixels = NDArray[np.uint8]

THUMB = (12, 16)  # width, height of the small image that comparisons between files use
_JPEG = ("JPEG", "MPO")  # phones put a second image into one file: Pillow calls that MPO
_FORMATS = {".jpg": _JPEG, ".jpeg": _JPEG, ".png": ("PNG",)}
_GREY = (64, 192)  # neither black nor white, even after JPEG
_MOST_GREY = 0.1
_FEWEST = 0.001  # share of a mask or body map below which it is as good as empty
_MOST = 0.99  # share of a mask above which it is as good as full
_FAR = 60  # distance in RGB from every DensePose colour that JPEG noise does not make
_MOST_FAR = 0.2  # of the body: soft edges between two parts stay below


@dataclass
class Inspection:
    """What opening one file gives."""

    findings: list[tuple[str, str]] = field(default_factory=list)  # (kind, detail)
    size: tuple[int, int] | None = None  # (width, height)
    digest: bytes = b""
    fingerprint: int | None = None  # see `data.leaks`
    thumb: Pixels | None = None  # (16, 12, 3), the small image
    body: NDArray[np.bool_] | None = None  # (16, 12), True where the file shows a person
    near: NDArray[np.bool_] | None = None  # the same by `near_body`, for joints
    people: People | None = None

    def show_body(self, region: NDArray[np.bool_]) -> None:
        """Record where the file, (H, W), shows a person."""
        image = Image.fromarray(region.astype(np.uint8) * 255).resize(THUMB, Image.Resampling.BOX)
        self.body, self.near = np.asarray(image) >= 128, near_body(region)

    def add(self, kind: str, detail: str = "") -> None:
        self.findings.append((kind, detail))


def inspect_file(task: tuple[Path, str]) -> Inspection:
    """Open a file in full and check its content, a key of `CONTENTS`."""
    path, content = task
    result = Inspection()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        result.add("link-broken" if path.is_symlink() else "file-missing")
        return result
    except OSError as error:
        result.add("unreadable", error.strerror or str(error))
        return result
    if not data:
        result.add("empty-file")
    elif data.startswith(b"version https://git-lfs"):
        result.add("git-lfs")
    else:
        result.digest = hashlib.blake2b(data, digest_size=8).digest()
        if content in _FILES:
            _FILES[content](path, data, result)
        elif (image := _decode(path, data, result)) is not None:
            _PICTURES[content](image, result)
    return result


def _decode(path: Path, data: bytes, result: Inspection) -> Image.Image | None:
    """The image, or None with the finding; checks that apply to any image."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except UnidentifiedImageError:
        result.add("unreadable", "a web page" if b"<html" in data[:512].lower() else "no image")
        return None
    except (*UNREADABLE, MemoryError) as error:
        result.add("unreadable", str(error)[:80])
        return None
    wanted = _FORMATS.get(path.suffix.lower())
    if wanted is not None and image.format not in wanted:
        result.add("format-differs", str(image.format))
    if (turned := orientation(image)) != 1:
        result.add("exif-rotated", f"orientation {turned}")
    if (profile := profile_name(image)) != SRGB:
        result.add("colour-profile", profile)
    result.size = image.size
    return image


def _photo(image: Image.Image, result: Inspection) -> None:
    if image.mode != "RGB":
        result.add("colour-mode", f"{image.mode}, expected RGB")
    if image.mode.startswith(("I", "F")):
        return  # 16 bits and floats have no range that an image could be made of
    if is_transparent(image):
        result.add("transparent")
    rgb = image.convert("RGB")
    if colours := rgb.getcolors(FEWEST_COLOURS - 1):
        result.add("few-colours" if len(colours) > 1 else "blank")
    result.thumb = np.asarray(rgb.resize(THUMB, Image.Resampling.BOX))
    result.fingerprint = fingerprint(rgb)


def _drawing(image: Image.Image, result: Inspection) -> None:
    if image.mode.startswith(("I", "F")):
        result.add("colour-mode", f"{image.mode}, expected 8 bits per channel")


def _region(image: Image.Image, result: Inspection) -> NDArray[np.bool_] | None:
    """Where a mask is white, None with the finding where it is no mask."""
    if image.mode not in ("L", "P", "RGB", "1"):
        result.add("colour-mode", f"{image.mode}, expected grey or RGB")
        return None
    if is_transparent(image):
        result.add("transparent")
        return None
    pixels = np.asarray(image.convert("L"))
    grey = np.mean((pixels >= _GREY[0]) & (pixels < _GREY[1]))
    region: NDArray[np.bool_] = pixels >= 128
    if grey > _MOST_GREY:
        result.add("mask-grey", f"{grey:.0%} grey")
    elif region.mean() < _FEWEST:  # a mask of 0 and 1 is black to every reader
        result.add("mask-empty", "its values are 0 and 1" if pixels.max() == 1 else "")
    elif region.mean() > _MOST:
        result.add("mask-full")
    else:
        return region
    return None


def _agnostic_mask(image: Image.Image, result: Inspection) -> None:
    region = _region(image, result)
    # The top row is background or head, which are kept; in an inverted mask it is all white.
    if region is not None and region[0].all() and region[:, [0, -1]].mean() > 0.5:
        result.add("mask-inverted")


def _garment_mask(image: Image.Image, result: Inspection) -> None:
    region = _region(image, result)
    if region is not None and region[[0, 0, -1, -1], [0, -1, 0, -1]].all():  # the corners
        result.add("mask-inverted")


def _labels(image: Image.Image, result: Inspection, kind: str) -> Pixels | None:
    """The labels, None with a finding of this kind where it is no label map."""
    if image.mode not in ("L", "P"):
        result.add(kind, f"{image.mode} image, expected one label per pixel")
    elif image.format in LOSSY:
        result.add(kind, f"stored as {image.format}, which turns labels into others")
    else:
        return np.asarray(image)
    return None


def _parse(image: Image.Image, result: Inspection, highest: int) -> None:
    labels = _labels(image, result, "parse-labels")
    if labels is None:
        return
    if (found := int(labels.max())) > highest:
        result.add("parse-labels", f"{found}, at most {highest}")
    elif found == 0:
        result.add("parse-empty")
    else:
        result.show_body(labels > 0)


def _part_labels(image: Image.Image, result: Inspection) -> None:
    parts = _labels(image, result, "densepose-encoding")
    if parts is not None:
        _parts(parts, result)


def _iuv(image: Image.Image, result: Inspection, order: str) -> None:
    """A colour image whose channels are part ids, U and V in this order."""
    expected = f"({', '.join(order)})"
    if image.mode != "RGB":
        result.add("densepose-encoding", f"{image.mode} image, expected RGB = {expected}")
        return
    if image.format in LOSSY:
        result.add("densepose-encoding", f"stored as {image.format}, which changes part ids")
        return
    pixels, channel = np.asarray(image), order.index("I")
    if pixels[..., channel].max() > PARTS >= pixels[..., 2 - channel].max() > 0:
        result.add("densepose-encoding", f"the channels are in reverse order, expected {expected}")
    else:
        _parts(pixels[..., channel], result)


def _parts(parts: Pixels, result: Inspection) -> None:
    if (highest := int(parts.max())) > PARTS:
        result.add("densepose-encoding", f"reaches {highest}, not a part id (0-{PARTS})")
    elif (parts > 0).mean() < _FEWEST:
        result.add("densepose-black")
    else:
        result.show_body(parts > 0)


def _colour(image: Image.Image, result: Inspection) -> None:
    if image.mode != "RGB":
        result.add("densepose-encoding", f"{image.mode} image, expected the colours of the parts")
        return
    # Every fourth pixel each way: 1/16 of the cost, and parts are far wider.
    pixels = np.asarray(image)[::4, ::4]
    body = pixels.max(axis=-1) >= DARKEST_BODY
    if body.mean() < _FEWEST:
        result.add("densepose-black")
        return
    shown = pixels[body][:: max(1, body.sum() // 4096)].astype(np.int32)
    distance = np.linalg.norm(shown[:, None] - PART_COLOURS[None, 1:], axis=-1).min(axis=1)
    if (distance > _FAR).mean() > _MOST_FAR:
        result.add("densepose-encoding", "not the colours of DensePose parts")
    else:
        result.show_body(body)


def _pose(path: Path, data: bytes, result: Inspection) -> None:
    """Keypoints in any format; whether they fit is found later, with the photo and the parse."""
    try:
        result.people = read_people(path)
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        if reason == NOBODY:
            result.add("pose-nobody")
        else:
            result.add("pose-unreadable", reason.split(";")[0][:60])
        return
    if result.people.frame == FRACTIONS:
        result.add("pose-fractions")
    if (count := len(result.people.joints)) > 1:
        result.add("pose-several", f"{count} persons")


def _arrays(path: Path, data: bytes, result: Inspection, **shapes: tuple[int | None, ...]) -> None:
    """An archive with these arrays; None stands for a height or width."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        result.add("array-unreadable", str(error)[:60])
        return
    for name, shape in shapes.items():
        if (array := found.get(name)) is None:
            result.add("array-content", f"no array {name}")
        elif not isinstance(array, np.ndarray):
            result.add("array-unreadable", f"{name} is no array")  # numpy gives plain bytes
        elif len(array.shape) != len(shape) or any(
            wanted not in (None, side) for wanted, side in zip(shape, array.shape, strict=True)
        ):
            result.add("array-content", f"{name} has the shape {array.shape}")
        elif np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            result.add("array-content", f"{name} is not finite")
        else:
            height, width = (array.shape[axis] for axis, n in enumerate(shape) if n is None)
            result.size = (width, height)


def _matches(path: Path, data: bytes, result: Inspection) -> None:
    """Trusted matches; the person's size that they are of is compared with the photograph's."""
    from leffa.data.matches import load_matches  # torch, only where there are matches

    try:
        content = load_matches(path)
    except ValueError as error:
        result.add("matches-content", str(error).removeprefix(f"{path}: ").split(";")[0])
        return
    person, garment = (content[who]["file"] for who in ("person", "garment"))
    if path.stem not in (Path(person).stem, unpaired_name(person, garment)):
        result.add("matches-content", f"of {person} and {garment}")
    result.size = tuple(content["person"]["size"])


_PICTURES: dict[str, Callable[[Image.Image, Inspection], None]] = {
    "photo": _photo,
    "agnostic": _photo,
    "drawing": _drawing,
    "mask": _agnostic_mask,
    "garment_mask": _garment_mask,
    "parse_20": partial(_parse, highest=19),  # CIHP and LIP
    "parse_any": partial(_parse, highest=255),
    "parse_18": partial(_parse, highest=18),  # ATR; 18 is the neck of OOTDiffusion's parsing
    "colour": _colour,
    "iuv": partial(_iuv, order="IUV"),
    "vui": partial(_iuv, order="VUI"),
    "labels": _part_labels,
}
_FILES: dict[str, Callable[[Path, bytes, Inspection], None]] = {
    "surface": partial(_arrays, uv=(2, None, None)),
    "pose": _pose,
    "matches": _matches,
    "flow": partial(_arrays, flow=(None, None, 2), valid=(None, None)),
}
CONTENTS = frozenset(_PICTURES) | frozenset(_FILES)
