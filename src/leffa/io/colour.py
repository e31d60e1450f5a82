"""Colour profiles: which one an image has, and the image in sRGB. Imports no torch."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SRGB = "sRGB"

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # by the colour space of a profile
_PROBE = 5  # levels a channel with which a profile is compared with sRGB
_SAME_COLOUR = 2  # of 255: what rounding does


def as_srgb(image: Image.Image) -> Image.Image:
    """The image in sRGB, mode RGB, without metadata; an unusable profile is ignored."""
    stored = image.info.get("icc_profile")
    conversion = _conversion(stored) if stored else None
    if conversion is not None and (mode := _mode_for(image, conversion)) is not None:
        converted = ImageCms.applyTransform(image.convert(mode), conversion)
        assert converted is not None  # it is, unless in place
        image = converted
    image = image.convert("RGB")
    image.info.clear()
    return image


def profile_name(image: Image.Image) -> str:
    """The name of a colour profile that changes colours; "sRGB" where there is none."""
    stored = image.info.get("icc_profile")
    return SRGB if not stored or _conversion(stored) is None else _description(stored)


@lru_cache(maxsize=32)
def _conversion(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """To sRGB; None where the profile is damaged, or means what sRGB means up to rounding."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space.strip()]
        target = ImageCms.createProfile("sRGB")
        conversion = ImageCms.buildTransform(source, target, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, KeyError):
        return None
    if mode == "CMYK":
        return conversion
    bands = Image.getmodebands(mode)
    levels = np.linspace(0, 255, _PROBE).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * bands, indexing="ij"), axis=-1).reshape(1, -1, bands)
    probe = Image.fromarray(grid.squeeze(-1) if bands == 1 else grid)
    there = np.asarray(ImageCms.applyTransform(probe, conversion), np.int16)
    here = np.asarray(probe.convert("RGB"), np.int16)
    return conversion if np.abs(there - here).max() > _SAME_COLOUR else None


def _mode_for(image: Image.Image, conversion: ImageCms.ImageCmsTransform) -> str | None:
    """The mode in which an image goes into the conversion; None where it cannot."""
    wanted = conversion.input_mode
    grey, cmyk = image.mode in ("1", "L", "LA"), image.mode == "CMYK"
    fits = {"L": grey, "CMYK": cmyk, "RGB": not cmyk}[wanted]
    return wanted if fits else None


def _description(profile: bytes) -> str:
    try:
        named = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        named = ""
    return " ".join(named.split()) or "an unnamed colour profile"
