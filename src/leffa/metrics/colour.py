"""CIE Lab and the colour difference CIEDE2000, which follows what people see better than RGB does.

A difference of 1 is about the smallest that is seen side by side.
"""

import torch
from torch import Tensor

# Linear sRGB to XYZ under D65 (IEC 61966-2-1); each row is divided by its sum, the white point.
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def to_lab(rgb: Tensor) -> Tensor:
    """sRGB (..., 3) in [0, 1] to CIE Lab under D65: L in [0, 100]; a grey has a = b = 0."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = torch.tensor(_TO_XYZ, dtype=rgb.dtype, device=rgb.device)
    xyz = linear @ (matrix / matrix.sum(dim=1, keepdim=True)).T
    edge = 6 / 29
    root = torch.where(xyz > edge**3, xyz.clamp_min(0) ** (1 / 3), xyz / (3 * edge**2) + 4 / 29)
    x, y, z = root.unbind(dim=-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def ciede2000(one: Tensor, other: Tensor) -> Tensor:
    """The difference of Lab colours (..., 3), (...): Sharma, Wu and Dalal, 2005, with k = 1.

    Give float64: the hue's mean turns over at opposite hues, where float32 may choose another side.
    """
    l1, c1, h1 = _polar(one, other)
    l2, c2, h2 = _polar(other, one)
    grey = c1 * c2 == 0  # a grey has no hue
    turn = (h2 - h1 + 180) % 360 - 180
    turn = torch.where((turn == -180) & (h2 > h1), 180.0, turn)
    step_h = 2 * (c1 * c2).sqrt() * _sin(torch.where(grey, 0.0, turn) / 2)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    far = (h1 - h2).abs() > 180
    wrapped = torch.where(h1 + h2 < 360, h1 + h2 + 360, h1 + h2 - 360)
    hue = torch.where(grey, h1 + h2, torch.where(far, wrapped, h1 + h2) / 2)
    weight = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue)
    weight = weight + 0.32 * _cos(3 * hue + 6) - 0.20 * _cos(4 * hue - 63)
    from_middle = (light - 50).square()
    by_light = (l2 - l1) / (1 + 0.015 * from_middle / (20 + from_middle).sqrt())
    by_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    by_hue = step_h / (1 + 0.015 * chroma * weight)
    blue = 30 * torch.exp(-(((hue - 275) / 25).square()))
    rotation = -_sin(2 * blue) * 2 * _saturation(chroma)
    squares = by_light.square() + by_chroma.square() + by_hue.square()
    return (squares + rotation * by_chroma * by_hue).clamp_min(0).sqrt()


def _polar(colour: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lightness, chroma and hue in degrees, with a stretched so that greys are even (Eq. 2-7)."""
    light, a, b = colour.unbind(dim=-1)
    mean = (torch.hypot(a, b) + torch.hypot(other[..., 1], other[..., 2])) / 2
    a = a * (1.5 - 0.5 * _saturation(mean))
    return light, torch.hypot(a, b), torch.rad2deg(torch.atan2(b, a)) % 360


def _saturation(chroma: Tensor) -> Tensor:
    return (chroma**7 / (chroma**7 + 25.0**7)).sqrt()


def _sin(degrees: Tensor) -> Tensor:
    return torch.sin(torch.deg2rad(degrees))


def _cos(degrees: Tensor) -> Tensor:
    return torch.cos(torch.deg2rad(degrees))
