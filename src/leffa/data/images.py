"""Opening the pictures of a sample. A damaged one gets one line that names it and the remedy."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from leffa.data.exif import orientation
from leffa.data.fit import same_shape

_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # raised where a user turns warnings into errors
    OSError,  # truncated data
    SyntaxError,  # a damaged PNG chunk
)
_GREY = (64, 192)  # from, to: neither black nor white, even after JPEG
_MOST_GREY = 0.1  # of a mask's pixels: soft edges stay far below, an agnostic picture far above


def open_picture(path: Path) -> Image.Image:
    """A photograph or colour picture, in RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or its pixels are not what it shows: it is stored turned,
            transparent in places, or of more than 8 bits a channel.
    """
    return _in_mode(_check_plain(_decode(path), path), "RGB")


def open_labels(path: Path) -> Image.Image:
    """A label map: PIL mode L, or P whose indices (never its palette) are the labels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded or is a colour picture.
    """
    image = _decode(path)
    if image.mode not in ("L", "P"):
        raise ValueError(
            f"{path}: is a {image.mode} picture, not a label map; "
            "use the file with one label a pixel"
        )
    return image


def open_mask(path: Path) -> Image.Image:
    """A mask in grey, black and white but for soft edges.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as in `open_picture`, or it is no mask. Some copies of VITON-HD hold the grey
            agnostic picture in the mask's place, which trains without a word and ruins the results.
    """
    mask = _in_mode(_check_plain(_decode(path), path), "L")
    grey = sum(mask.histogram()[slice(*_GREY)]) / (mask.width * mask.height)
    if grey > _MOST_GREY:
        raise ValueError(
            f"{path}: {grey:.0%} of it is grey, so it is no mask; use the black and white mask file"
        )
    return mask


def check_same_size(
    image: Image.Image,
    path: Path,
    source: Image.Image,
    source_path: Path,
    any_resolution: bool = False,
) -> None:
    """Raise ValueError, naming both files, where two pictures of one person differ in size.

    With `any_resolution` they may, if their shapes are the same.
    """
    if image.size != source.size and not (any_resolution and same_shape(image.size, source.size)):
        raise ValueError(
            f"{path} is {image.width}x{image.height} but {source_path} is "
            f"{source.width}x{source.height}; use files of one release, all of one size"
        )


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """A picture (H, W, 3) of bytes as (3, H, W) in [-1, 1]."""
    scaled = np.divide(pixels, np.float32(127.5))
    scaled -= 1  # in place: at 1024x768 a second array costs as much as the arithmetic
    return torch.from_numpy(scaled).permute(2, 0, 1)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Without the copy that PIL's `convert` makes of a picture that has the mode already."""
    return image if image.mode == mode else image.convert(mode)


def _check_plain(image: Image.Image, path: Path) -> Image.Image:
    """The picture; refuses one that `convert` would change without a word."""
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{path}: has more than 8 bits a pixel ({image.mode}), of which only white would be "
            "left; save it with 8 bits a channel"
        )
    if (turned := orientation(image)) != 1:
        raise ValueError(
            f"{path}: is stored turned (EXIF orientation {turned}), so its mask and maps would not "
            "fit; save it upright, for example with: mogrify -auto-orient FILE"
        )
    # The header tells; only a picture that has an alpha channel is looked through.
    if image.has_transparency_data and (np.asarray(image.convert("RGBA"))[..., 3] < 255).any():
        raise ValueError(
            f"{path}: is transparent in places, and what colour they would get is chance; save it "
            "on a white background first"
        )
    return image


def _decode(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such file; extract the data set's archive again"
        ) from error
    except _UNREADABLE as error:
        reason = str(error).removesuffix(f" {str(path)!r}")
        raise ValueError(
            f"{path}: is not a readable image ({reason}); replace it with a good copy"
        ) from error
