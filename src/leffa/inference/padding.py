"""Removes padding from generated images, and adds it: scored padding would raise PSNR by 3 dB."""

import torch
from torch import Tensor

from leffa.data.batch import Record
from leffa.data.fit import fit_picture
from leffa.data.transforms import PersonTransform
from leffa.io.pictures import read_header


def crop_padding(image: Tensor, record: Record, transform: PersonTransform) -> Tensor:
    """The part of a sample's image (..., H, W) that shows the source: (..., h, w)."""
    left, top, right, bottom = _window(record, transform)
    return image[..., top:bottom, left:right]


def add_padding(image: Tensor, record: Record, transform: PersonTransform) -> Tensor:
    """The opposite, white around it: (3, h, w) in [-1, 1] -> (3, H, W)."""
    left, top, right, bottom = _window(record, transform)
    canvas = torch.ones(len(image), transform.height, transform.width)
    canvas[:, top:bottom, left:right] = image
    return canvas


def _window(record: Record, transform: PersonTransform) -> tuple[int, int, int, int]:
    if transform.fit == "stretch":  # no need to open the file
        return 0, 0, transform.width, transform.height
    return fit_picture(read_header(record.source).size, transform.size, transform.fit).window
