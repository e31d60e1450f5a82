"""What one look at a file gives, and how any picture is decoded. Imports no torch."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from leffa.data.keypoints import People, near_body
from leffa.io.colour import SRGB, profile_name
from leffa.io.pictures import UNREADABLE, orientation

Pixels = NDArray[np.uint8]

THUMB = (12, 16)  # width, height of the small picture that comparisons between files use
_JPEG = ("JPEG", "MPO")  # phones put a second picture into one file: Pillow calls that MPO
_FORMATS = {".jpg": _JPEG, ".jpeg": _JPEG, ".png": ("PNG",)}


@dataclass
class Look:
    """What one look at a file gives.

    Args:
        findings: (kind, detail).
        size: (width, height).
        digest: of the bytes.
        thumb: (16, 12, 3), the small picture.
        body: (16, 12) True where the file says that there is a person.
        near: the same by `near_body`, for joints.
        people: whose joints were found.
    """

    findings: list[tuple[str, str]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    digest: bytes = b""
    thumb: Pixels | None = None
    body: NDArray[np.bool_] | None = None
    near: NDArray[np.bool_] | None = None
    people: People | None = None

    def show_body(self, region: NDArray[np.bool_]) -> None:
        """Record where the file, (H, W), says that there is a person."""
        self.body, self.near = small(region), near_body(region)

    def add(self, kind: str, detail: str = "") -> None:
        """Record a finding."""
        self.findings.append((kind, detail))


Inspector = Callable[[Path, bytes, Look], None]


def decode(path: Path, data: bytes, look: Look) -> Image.Image | None:
    """The picture, or None with the finding; checks what any picture can suffer from."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except UnidentifiedImageError:
        beginning = "a web page" if b"<html" in data[:512].lower() else "no picture"
        look.add("unreadable", beginning)
        return None
    except (*UNREADABLE, MemoryError) as error:
        look.add("unreadable", str(error)[:80])
        return None
    wanted = _FORMATS.get(path.suffix.lower())
    if wanted is not None and image.format not in wanted:
        look.add("format-differs", str(image.format))
    if (turned := orientation(image)) != 1:
        look.add("exif-rotated", f"orientation {turned}")
    if (profile := profile_name(image)) != SRGB:
        look.add("colour-profile", profile)
    look.size = image.size
    return image


def small(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A region (H, W) as the small picture shows it."""
    image = Image.fromarray(region.astype(np.uint8) * 255).resize(THUMB, Image.Resampling.BOX)
    return np.asarray(image) >= 128
