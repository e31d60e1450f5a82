"""Limits on uploads: the size in bytes and in pixels, and which kinds of files.

A file is judged by its content; its name and suffix say nothing. The number of pixels is read from
the header, so a small file that would unfold to gigabytes is refused before it is decoded.
"""

from pathlib import Path

from PIL import Image

from leffa.app.settings import Limits
from leffa.io.colour import as_srgb
from leffa.io.pictures import UNREADABLE, check_depth, on_white, upright

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_SMALLEST = 16  # pixels along a side; below, nothing can be seen


def open_upload(path: Path, limits: Limits, what: str) -> Image.Image:
    """Open an uploaded image in its own mode, decoded and upright.

    Raises:
        ValueError: too many bytes, pixels or bits a channel, no image, or damaged; one line with
            the remedy, in which `what` says what the image is: "The person's photograph".
    """
    if not path.is_file():
        raise ValueError(f"{what} is no longer on the server; upload it again")
    if (size := path.stat().st_size) > limits.bytes:
        raise ValueError(
            f"{what} has {size / 1e6:.0f} MB, and at most {limits.megabytes:g} MB are taken; save "
            "it smaller or as JPEG"
        )
    has = "more pixels than"
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            has, fits = f"{width}x{height} pixels, and", width * height <= limits.megapixels * 1e6
            if fits:
                image.load()
    except _BOMBS:  # PIL's own limits, which are higher
        fits = False
    except UNREADABLE as error:
        raise ValueError(
            f"{what} is not a readable {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image, "
            "whatever its name says; save it as one of these"
        ) from error
    if not fits:
        raise ValueError(
            f"{what} has {has} at most {limits.megapixels:g} megapixels are taken; make it smaller"
        )
    if min(width, height) < _SMALLEST:
        raise ValueError(f"{what} has {width}x{height} pixels; give a larger image")
    return upright(check_depth(image, what))


def as_photograph(image: Image.Image) -> Image.Image:
    """An upload as a viewer shows it: in sRGB, on white where it is transparent.

    What else the file told (the camera, the place) is left out.
    """
    return as_srgb(on_white(image))
