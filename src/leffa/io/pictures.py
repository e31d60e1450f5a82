"""Reads images and masks. Imports no torch.

- `open_picture`, of a dataset: the stored numbers, as published code reads them. A rotated file is
  refused, since its mask and maps would not fit; a colour profile is ignored.
- `open_photograph`, of a user: what a viewer shows, upright, in sRGB and on white.
- `open_labels`, `open_mask` and `marked_region`: files whose pixels mean something.

All raise FileNotFoundError, or ValueError in one line that names the file and the remedy.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from leffa.io.colour import as_srgb, profile_name

UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # raised where a user turns warnings into errors
    OSError,  # truncated data
    SyntaxError,  # a damaged PNG chunk
    EOFError,
    ValueError,
    struct.error,
)
FEWEST_COLOURS = 33  # of a photograph: label maps and DensePose have up to 25, masks two
LOSSY = frozenset({"JPEG", "MPO", "WEBP"})  # formats that change pixels beside an edge

_GREY = (64, 192)  # from, to: neither black nor white, even after JPEG
_COUNTED = 256  # of a mask's pixels along its shorter side
_MOST_GREY = 0.1  # of a mask's pixels: soft edges stay far below, an agnostic image far above
_WHITE = 128  # masks are cut in the middle between black and white
_COLOURED = 48  # difference of two channels that JPEG does not make of a grey image
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, and writers put 0 where they know nothing
_SAYS_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


@dataclass(frozen=True)
class Header:
    """What a file says before its pixels are decoded."""

    size: tuple[int, int]  # (width, height), as stored
    mode: str
    format: str  # by the contents, such as "PNG"
    turned: int  # EXIF orientation; 1 is upright
    profile: str  # name of the colour profile; "sRGB" where there is none


def read_header(path: Path) -> Header:
    try:
        with Image.open(path) as image:
            # Asked for its EXIF, an undecoded PNG decodes itself.
            lazy = image.format == "PNG" and not any(k in image.info for k in _SAYS_ORIENTATION)
            turned = 1 if lazy else orientation(image)
            return Header(image.size, image.mode, image.format or "", turned, profile_name(image))
    except UNREADABLE as error:
        raise _named(path, error) from error


def decode(path: Path) -> Image.Image:
    """The image as stored, in its own mode."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except UNREADABLE as error:
        raise _named(path, error) from error


def open_picture(path: Path) -> Image.Image:
    """An image of a dataset in RGB; refuses a rotated, transparent or more than 8-bit one."""
    return _in_mode(_check_plain(check_upright(decode(path), path), path), "RGB")


def open_photograph(path: Path) -> Image.Image:
    """A user's photograph, upright, in sRGB and on white; refuses more than 8 bits."""
    return as_srgb(on_white(upright(check_depth(decode(path), path))))


def open_labels(path: Path) -> Image.Image:
    """A label map: PIL mode L, or P whose indices (never its palette) are the labels."""
    image = check_upright(decode(path), path)
    if image.mode not in ("L", "P"):
        raise ValueError(
            f"{path}: is a {image.mode} image, not a label map; use the file with one label per "
            "pixel"
        )
    check_exact(image.format, path)
    return image


def open_mask(path: Path) -> Image.Image:
    """A mask in grey, black and white but for soft edges; readers threshold it at 128.

    Some copies of VITON-HD have the grey agnostic image in the mask's place: it is refused.
    """
    mask = _in_mode(_check_plain(check_upright(decode(path), path), path), "L")
    _check_black_and_white(mask, path)
    return mask


def marked_region(path: Path) -> NDArray[np.bool_]:
    """(H, W), True where a mask or a parsing map marks a pixel, by what the file shows.

    Black and white is cut at 128; a grey image is taken for that where most of what is not black
    is brighter. In a label map all that is not black is marked.
    """
    image = check_upright(decode(path), path)
    shown = np.asarray(_in_mode(_check_plain(image, path), "RGB"))
    brightest, darkest = shown.max(axis=-1), shown.min(axis=-1)
    lossy = image.format in LOSSY
    coloured = int((brightest - darkest).max()) > (_COLOURED if lossy else 0)
    bright = brightest >= _WHITE
    if not coloured and 2 * np.count_nonzero(bright) >= np.count_nonzero(brightest):
        _check_black_and_white(Image.fromarray(brightest), path)
        return bright
    check_exact(image.format, path)
    return brightest > 0


def upright(image: Image.Image) -> Image.Image:
    """The image rotated as its EXIF says; its metadata no longer has it."""
    return image if orientation(image) == 1 else ImageOps.exif_transpose(image)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 2 to 8; 1 where it is upright or does not say."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (*UNREADABLE, TypeError, KeyError):  # the pixels are whole all the same
        return 1
    return int(value) if value in range(2, 9) else 1


def check_upright(image: Image.Image, path: Path) -> Image.Image:
    """The image; refuses one that is stored rotated."""
    if (turned := orientation(image)) != 1:
        raise ValueError(
            f"{path}: is stored rotated (EXIF orientation {turned}), so its mask and maps would "
            "not fit; save it upright, for example with: mogrify -auto-orient FILE"
        )
    return image


def check_depth(image: Image.Image, what: object) -> Image.Image:
    """The image; refuses one of more than 8 bits per channel, named `what`."""
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{what}: has more than 8 bits per channel ({image.mode}), which would become all "
            "white; save it with 8 bits per channel"
        )
    return image


def on_white(image: Image.Image) -> Image.Image:
    """The image on white, if it is transparent anywhere; with its colour profile."""
    if not image.has_transparency_data:
        return image
    profile, layer = image.info.get("icc_profile"), image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    image.info["icc_profile"] = profile
    return image


def is_transparent(image: Image.Image) -> bool:
    """Whether a pixel is."""
    alpha = np.asarray(image.convert("RGBA"))[..., 3] if image.has_transparency_data else 255
    return bool(np.any(alpha < 255))


def _check_plain(image: Image.Image, path: Path) -> Image.Image:
    """The image; refuses one that `convert` would silently change."""
    check_depth(image, path)
    if is_transparent(image):
        raise ValueError(
            f"{path}: has transparent areas, whose colour is arbitrary; save it on a white "
            "background first"
        )
    return image


def _check_black_and_white(mask: Image.Image, path: Path) -> None:
    step = max(1, min(mask.size) // _COUNTED)  # for a share, counting a part is enough
    few = mask.resize((mask.width // step, mask.height // step), Image.Resampling.NEAREST)
    grey = sum(few.histogram()[slice(*_GREY)]) / (few.width * few.height)
    if grey > _MOST_GREY:
        raise ValueError(
            f"{path}: {grey:.0%} of its pixels are grey, so it is not a mask; use a black and "
            "white mask"
        )


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Without the copy that PIL's `convert` makes of an image that has the mode already."""
    return image if image.mode == mode else image.convert(mode)


def check_exact(format: str | None, path: Path) -> None:
    """Refuse labels in a lossy format, which turns them into others."""
    if format in LOSSY:
        raise ValueError(
            f"{path}: is a label map stored as {format}, which turns labels into others; "
            "use the PNG that it was made from"
        )


def _named(path: Path, error: BaseException) -> Exception:
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{path}: no such file; extract the dataset's archive again")
    reason = str(error).removesuffix(f" {str(path)!r}")
    heic = path.suffix.lower() in (".heic", ".heif")  # an iPhone's photographs; PIL reads none
    remedy = "save it as JPEG or PNG" if heic else "replace it with a good copy"
    return ValueError(f"{path}: is not a readable image ({reason}); {remedy}")
