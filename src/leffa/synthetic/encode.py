"""Images, labels and arrays as the bytes of a file; the same input gives the same bytes."""

import io
import json

import numpy as np
from PIL import Image, ImageDraw

from leffa.synthetic.raster import Floats, Mask, Pixels

JPEG_QUALITY = 95


# The palette of label maps (Pascal VOC): a label's bits, spread over the three channels.
VOC_PALETTE = [
    sum((label >> (3 * place + channel) & 1) << (7 - place) for place in range(3))
    for label in range(256)
    for channel in range(3)
]

# The limbs of the OpenPose drawing, as pairs of BODY_25 joints.
_LIMBS = (
    (1, 8), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12),
    (12, 13), (13, 14), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21),
    (11, 22), (22, 23), (11, 24),
)  # fmt: skip


def picture(pixels: Pixels, name: str) -> bytes:
    """(H, W, 3) or (H, W) as JPEG or PNG, by the suffix of the file's name."""
    file, image = io.BytesIO(), Image.fromarray(pixels)
    if name.endswith(".jpg"):
        image.save(file, "JPEG", quality=JPEG_QUALITY)
    else:
        image.save(file, "PNG")
    return file.getvalue()


def palette_png(labels: Pixels) -> bytes:
    """(H, W) labels as a PNG of mode P whose index is the label."""
    file, image = io.BytesIO(), Image.fromarray(labels).convert("L")
    image.putpalette(VOC_PALETTE)
    image.save(file, "PNG")
    return file.getvalue()


def black_and_white(mask: Mask) -> Pixels:
    """(H, W) True as 255."""
    return np.where(mask, np.uint8(255), np.uint8(0))


def flow(field: Floats, valid: Mask) -> bytes:
    """A `.npz` with `flow` (H, W, 2) float16 and `valid` (H, W) bool."""
    file = io.BytesIO()
    np.savez_compressed(file, flow=field.astype(np.float16), valid=valid)
    return file.getvalue()


def surface(uv: Pixels) -> bytes:
    """(H, W, 2) U and V in 0..255 as a `.npz` with `uv` (2, H, W) float32 in [0, 1]."""
    file = io.BytesIO()
    np.savez_compressed(file, uv=np.moveaxis(uv, -1, 0).astype(np.float32) / 255)
    return file.getvalue()


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 3) for value in values]


def viton_json(keypoints: Floats) -> bytes:
    """COCO-18 keypoints (18, 3) as OpenPose 1.0 writes one person; VITON has these."""
    person: dict[str, list[float]] = {"pose_keypoints": _rounded(keypoints.ravel())}
    person |= {f"{part}_keypoints": [] for part in ("face", "hand_left", "hand_right")}
    return json.dumps({"version": 1.0, "people": [person]}).encode()


def dress_code_json(keypoints: Floats, size: tuple[int, ...]) -> bytes:
    """COCO-18 keypoints (18, 3) as DressCode writes them: x, y in a 384 x 512 frame, score, number.

    `size` is the image's (height, width). A missing joint is 0, 0, 0, -1.
    """
    stretch = np.array([384 / size[1], 512 / size[0], 1.0])
    rows = [
        [*_rounded(row), float(number) if row[2] > 0 else -1.0]
        for number, row in enumerate(keypoints * stretch)
    ]
    return json.dumps({"keypoints": rows}).encode()


def annotation(keypoints: Floats, size: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """COCO-18 keypoints (18, 3) as [y, x] of a row of PATN's lists, -1 where missing.

    `size` is the image's (height, width); the joints are given in a `frame` of (width, height).
    """
    x, y, seen = keypoints.T
    places = np.stack([y * frame[1] / size[0], x * frame[0] / size[1]])
    joints = np.where(seen > 0, np.floor(places), -1).astype(np.int64)
    return json.dumps(joints.tolist()).encode()


def skeleton(keypoints: Floats, size: tuple[int, ...]) -> Pixels:
    """(H, W, 3) the OpenPose drawing of BODY_25 keypoints on black, one hue per limb."""
    image = Image.new("RGB", (size[1], size[0]))
    pen = ImageDraw.Draw(image)
    width = max(1, round(size[0] / 128))
    for number, (a, b) in enumerate(_LIMBS):
        if keypoints[a, 2] > 0 and keypoints[b, 2] > 0:
            ends = [(float(x), float(y)) for x, y in keypoints[[a, b], :2]]
            hue = round(360 * number / len(_LIMBS))
            pen.line(ends, fill=f"hsv({hue}, 100%, 100%)", width=width)
            for x, y in ends:
                pen.circle((x, y), width, fill=f"hsv({hue}, 70%, 100%)")
    return np.asarray(image)
