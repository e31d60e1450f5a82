"""How a camera held the picture, as the file says it. Imports no torch."""

import struct

from PIL import Image

_ORIENTATION = 0x0112  # the EXIF tag
_TURNED = range(2, 9)  # 1 is upright; writers put 0 and other numbers where they know nothing
_BROKEN = (SyntaxError, struct.error, ValueError, TypeError, KeyError, OSError)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened picture, 2 to 8; 1 where it is upright or does not say."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:  # the pixels are whole all the same
        return 1
    return int(value) if value in _TURNED else 1
