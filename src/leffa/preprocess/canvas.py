"""The canvas on which the released demos parse a photo, find its joints and make its mask."""

from dataclasses import replace

from PIL import Image

from leffa.data.fit import WHITE, Placement, fit_picture

CANVAS = (384, 512)  # (width, height)
_DEMO = (768, 1024)  # of the picture that the demos generate


def to_canvas(image: Image.Image) -> tuple[Image.Image, Placement]:
    """A photo on the canvas, and where it lies there.

    It is padded with white to 3:4, brought to 768x1024, and from there to 384x512, in this order as
    in the demos. Shrinking is antialiased; the demos' first step is not.
    """
    large = fit_picture(image.size, _DEMO, "pad")
    canvas = large.place(image.convert("RGB"), Image.Resampling.BICUBIC, WHITE)
    half = replace(
        large,
        canvas=CANVAS,
        left=large.left / 2,
        top=large.top / 2,
        width=large.width / 2,
        height=large.height / 2,
    )
    return canvas.resize(CANVAS, Image.Resampling.BICUBIC), half
