"""The parts of DensePose, and their colours in VITON-HD's `image-densepose`. Imports no torch."""

import numpy as np

PARTS = 24
"""Of DensePose: 0 background, 1 back, 2 front of the torso, 3-4 hands, 5-6 feet (the sources differ
on which is 5), 7-22 limbs in left/right pairs, 23-24 the two halves of the head."""

# fmt: off
PART_COLOURS = np.array([
    (0, 0, 0),
    (37, 60, 163), (20, 80, 194), (4, 97, 223), (8, 110, 221), (14, 122, 216), (20, 132, 212),
    (15, 144, 208), (11, 156, 203), (6, 166, 198), (22, 173, 185), (38, 179, 172),
    (55, 185, 159), (86, 187, 144), (114, 189, 130), (145, 191, 116), (170, 189, 105),
    (192, 188, 96), (216, 186, 86), (228, 192, 74), (240, 199, 60), (252, 206, 46),
    (251, 220, 36), (250, 235, 25), (249, 251, 14),
], np.int16)
# fmt: on
"""In VITON-HD's `image-densepose`: OpenCV's PARULA map at grey level floor(255 part / 24)."""
DARKEST_BODY = 72
"""Half of the dimmest part's brightest channel: JPEG noise on black stays far below."""
