"""Reads pictures and masks, for data sets, users' photographs and scores alike. Imports no torch.

What a file stores is not always what a viewer shows: a camera notes how it was held (EXIF), and a
colour profile says which colours the numbers mean. There are three ways to read:

- `open_picture`, of a data set: the stored numbers, as published code reads them. A turned file is
  refused, since its mask and maps would not fit; a colour profile is ignored.
- `open_photograph`, of a user: what a viewer shows, upright and in sRGB.
- `open_labels`, `open_mask` and `marked_region`: files whose pixels mean something.

A damaged file gets one line that names it and the remedy.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

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
_MOST_GREY = 0.1  # of a mask's pixels: soft edges stay far below, an agnostic picture far above
_WHITE = 128  # masks are cut in the middle between black and white
_COLOURED = 48  # difference of two channels that JPEG does not make of a grey picture
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, and writers put 0 where they know nothing
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAYS_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


@dataclass(frozen=True)
class Header:
    """What a file says before its pixels are decoded.

    Attributes:
        size: (width, height), as stored.
        mode: PIL's.
        format: by the contents, such as "PNG".
        turned: its EXIF orientation; 1 is upright.
        profile: the name of its colour profile; "sRGB" where it has none.
    """

    size: tuple[int, int]
    mode: str
    format: str
    turned: int
    profile: str


def read_header(path: Path) -> Header:
    """The header of a picture.

    Raises:
        FileNotFoundError, ValueError: as in `decode`.
    """
    try:
        with Image.open(path) as image:
            # Asked for its EXIF, an undecoded PNG decodes itself.
            lazy = image.format == "PNG" and not any(k in image.info for k in _SAYS_ORIENTATION)
            turned = 1 if lazy else orientation(image)
            return Header(image.size, image.mode, image.format or "", turned, profile_name(image))
    except UNREADABLE as error:
        raise _named(path, error) from error


def decode(path: Path) -> Image.Image:
    """The picture as stored, in its own mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except UNREADABLE as error:
        raise _named(path, error) from error


def open_picture(path: Path) -> Image.Image:
    """A photograph or colour picture of a data set, in RGB, its colour profile ignored.

    Raises:
        FileNotFoundError, ValueError: as in `decode`; or its pixels are not what it shows: it is
            stored turned, transparent in places, or of more than 8 bits a channel.
    """
    return _in_mode(_check_plain(check_upright(decode(path), path), path), "RGB")


def open_photograph(path: Path) -> Image.Image:
    """A user's photograph as a viewer shows it: upright, in sRGB, mode RGB.

    Raises:
        FileNotFoundError, ValueError: as in `decode`; or it is transparent in places, or of more
            than 8 bits a channel.
    """
    return as_srgb(upright(_check_plain(decode(path), path)))


def open_labels(path: Path) -> Image.Image:
    """A label map: PIL mode L, or P whose indices (never its palette) are the labels.

    Raises:
        FileNotFoundError, ValueError: as in `decode`; or it is a colour picture, stored turned, or
            of a format that turns labels into others.
    """
    image = check_upright(decode(path), path)
    if image.mode not in ("L", "P"):
        raise ValueError(
            f"{path}: is a {image.mode} picture, not a label map; "
            "use the file with one label a pixel"
        )
    check_exact(image.format, path)
    return image


def open_mask(path: Path) -> Image.Image:
    """A mask in grey, black and white but for soft edges; whoever reads it cuts it at 128.

    Raises:
        FileNotFoundError, ValueError: as in `open_picture`; or it is no mask. Some copies of
            VITON-HD hold the grey agnostic picture in the mask's place, which trains without a
            word and ruins the results.
    """
    mask = _in_mode(_check_plain(check_upright(decode(path), path), path), "L")
    _check_black_and_white(np.asarray(mask), path)
    return mask


def marked_region(path: Path) -> NDArray[np.bool_]:
    """(H, W), True where a mask or a parsing map marks a pixel, by what the file shows.

    A palette is followed. Black and white is cut in the middle: what is 128 or brighter is marked,
    so it does not matter what JPEG leaves beside an edge, nor how soft an edge is. In a label map,
    whose labels are small numbers or colours, all that is not black is marked; where most of what
    is not black in a grey picture is brighter than 128, it is taken for black and white.

    Raises:
        FileNotFoundError, ValueError: as in `open_picture`; or it is grey like
            an agnostic picture, or a label map in a lossy format, where black is not 0.
    """
    image = check_upright(decode(path), path)
    shown = np.asarray(_in_mode(_check_plain(image, path), "RGB"))
    brightest, darkest = shown.max(axis=-1), shown.min(axis=-1)
    lossy = image.format in LOSSY
    coloured = int((brightest - darkest).max()) > (_COLOURED if lossy else 0)
    bright = brightest >= _WHITE
    if not coloured and 2 * np.count_nonzero(bright) >= np.count_nonzero(brightest):
        _check_black_and_white(brightest, path)
        region = bright
    else:
        check_exact(image.format, path)
        region = brightest > 0
    return region


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as the camera says; its metadata no longer says how."""
    method = _UPRIGHT.get(orientation(image))
    if method is None:
        return image
    turned = image.transpose(method)
    for key in _SAYS_ORIENTATION:
        turned.info.pop(key, None)
    return turned


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened picture, 2 to 8; 1 where it is upright or does not say."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (*UNREADABLE, TypeError, KeyError):  # the pixels are whole all the same
        return 1
    return int(value) if value in _UPRIGHT else 1


def check_upright(image: Image.Image, path: Path) -> Image.Image:
    """The picture; raises ValueError, naming the file, where it is stored turned."""
    if (turned := orientation(image)) != 1:
        raise ValueError(
            f"{path}: is stored turned (EXIF orientation {turned}), so its mask and maps would not "
            "fit; save it upright, for example with: mogrify -auto-orient FILE"
        )
    return image


def check_depth(image: Image.Image, what: object) -> Image.Image:
    """The picture; raises ValueError, naming `what` it is, where it has more than 8 bits."""
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{what}: has more than 8 bits a pixel ({image.mode}), of which only white would be "
            "left; save it with 8 bits a channel"
        )
    return image


def is_transparent(image: Image.Image) -> bool:
    """Whether a pixel is; only a picture whose header speaks of transparency is looked through."""
    return image.has_transparency_data and bool(
        (np.asarray(image.convert("RGBA"))[..., 3] < 255).any()
    )


def _check_plain(image: Image.Image, path: Path) -> Image.Image:
    """The picture; refuses one that `convert` would change without a word."""
    check_depth(image, path)
    if is_transparent(image):
        raise ValueError(
            f"{path}: is transparent in places, and what colour they would get is chance; save it "
            "on a white background first"
        )
    return image


def _check_black_and_white(pixels: NDArray[np.uint8], path: Path) -> None:
    grey = np.bincount(pixels.ravel(), minlength=256)[slice(*_GREY)].sum() / pixels.size
    if grey > _MOST_GREY:
        raise ValueError(
            f"{path}: {grey:.0%} of it is grey, so it is no mask; use the black and white mask file"
        )


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Without the copy that PIL's `convert` makes of a picture that has the mode already."""
    return image if image.mode == mode else image.convert(mode)


def check_exact(format: str | None, path: Path) -> None:
    """Raise ValueError where labels are stored in a format that turns them into others."""
    if format in LOSSY:
        raise ValueError(
            f"{path}: is a label map stored as {format}, which turns labels into others; "
            "use the PNG that it was made from"
        )


def _named(path: Path, error: BaseException) -> Exception:
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{path}: no such file; extract the data set's archive again")
    reason = str(error).removesuffix(f" {str(path)!r}")
    return ValueError(f"{path}: is not a readable image ({reason}); replace it with a good copy")
