"""Trusted matches between a photograph of a person and one of the garment that they wear.

RootSIFT keypoints, mutual nearest neighbours, and of these only those that an affine map of their
neighbours predicts: cloth bends, so a single homography is too rigid, and also finds agreement by
chance. Prints, lettering and lace have matches; plain and striped cloth rightly has none.

OpenCV (the extra `matches`) finds the keypoints.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_fill_holes
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

RECIPE = "rootsift_local_affine@1"  # raised whenever the result changes
HEIGHT, WIDTH = 768, 576  # pixels, at most, at which keypoints are found; all below are of these

FEWEST = 10  # matches for which a pair is trusted
_KEYPOINTS = 4000
_CONTRAST = 0.04
_RATIO = 0.9  # of the distances to the nearest neighbour and to the second (Lowe, 2004)
_SAME_PLACE = 2.0  # pixels: nearer keypoints are no second neighbour, but the first once more
_DUPLICATE = 1.5  # pixels
_NEIGHBOURS, _FEWEST_NEIGHBOURS, _NEAR = 8, 4, 90.0
_TOLERANCE = 5.0  # pixels from where the local map leads
_SCALES, _ANISOTROPY = (0.25, 4.0), 2.5  # of the map's singular values, and of their ratio
_WHITE = 245  # a garment's ground, in all channels

Points = NDArray[np.float32]  # (N, 2) x and y
Mask = NDArray[np.bool_]


def require_opencv() -> Any:
    """The module cv2; ValueError, with the remedy, where it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            f"matches need OpenCV, which is not installed ({error}); pip install -e '.[matches]'"
        ) from error
    return cv2


def find_matches(
    person: Image.Image,
    garment: Image.Image,
    garment_mask: Mask | None = None,
    person_mask: Mask | None = None,
) -> NDArray[np.float32]:
    """The trusted matches of a pair, (N, 4): x and y on the person, x and y on the garment, as
    fractions of the two images; N = 0 if fewer than `FEWEST` are found.

    Args:
        garment_mask: (H, W) mask of the garment; None: everything that is not white, and holes.
        person_mask: (H, W) mask of where on the person a match may lie; None: anywhere.

    Raises:
        ValueError: OpenCV is not installed.
    """
    require_opencv().setNumThreads(1)  # pairs run side by side
    if garment_mask is None:
        garment_mask = not_white(garment)
    here, seen = _keypoints(person)
    there, shown = _keypoints(garment)
    if min(len(here), len(there)) < FEWEST:
        return np.zeros((0, 4), np.float32)
    first, second = _mutual(seen, shown, there)
    inside = _inside(there[second], garment, garment_mask)
    if person_mask is not None:
        inside &= _inside(here[first], person, person_mask)
    here, there = here[first][inside], there[second][inside]
    distinct = _distinct(here, there)
    here, there = here[distinct], there[distinct]
    for _ in range(2):
        explained = _explained(here, there)
        here, there = here[explained], there[explained]
    if len(here) < FEWEST:
        return np.zeros((0, 4), np.float32)
    return np.concatenate([_fractions(here, person), _fractions(there, garment)], axis=1)


def not_white(garment: Image.Image) -> Mask:
    """(H, W), True where a garment lies on white, its white parts included."""
    filled: Mask = binary_fill_holes(np.asarray(garment.convert("RGB")).min(axis=-1) < _WHITE)
    return filled


def _size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) at which its keypoints are found: its own shape, as large as it goes."""
    scale = min(WIDTH / picture.width, HEIGHT / picture.height)
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def _keypoints(picture: Image.Image) -> tuple[Points, NDArray[np.float32]]:
    """Places (N, 2), and RootSIFT descriptors (N, 128) of length 1 (Arandjelovic et al., 2012)."""
    # By a bilinear filter there are a third more matches, but one pair of 14 less.
    grey = np.asarray(picture.convert("L").resize(_size(picture), Image.Resampling.LANCZOS))
    sift = require_opencv().SIFT_create(_KEYPOINTS, contrastThreshold=_CONTRAST)
    found, descriptors = sift.detectAndCompute(grey, None)
    if not found:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    places = np.array([point.pt for point in found], np.float32)
    return places, np.sqrt(descriptors / descriptors.sum(axis=1, keepdims=True).clip(1e-12))


def _mutual(
    seen: NDArray[np.float32], shown: NDArray[np.float32], there: Points
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of mutual nearest neighbours that are nearer than any other place, best first."""
    likeness = seen @ shown.T
    nearest = likeness.argmax(axis=1)
    rows = np.arange(len(seen))
    best = likeness[rows, nearest]
    mutual = likeness.argmax(axis=0)[nearest] == rows
    rows, nearest, best = rows[mutual], nearest[mutual], best[mutual]
    near = cdist(there[nearest], there) <= _SAME_PLACE
    other = np.where(near, -1.0, likeness[rows]).max(axis=1)
    distance, further = (np.sqrt(np.maximum(2 - 2 * each, 0)) for each in (best, other))
    chosen = np.flatnonzero(distance < _RATIO * further)
    chosen = chosen[np.argsort(distance[chosen] / further[chosen], kind="stable")]
    return rows[chosen], nearest[chosen]


def _inside(points: Points, picture: Image.Image, mask: Mask) -> Mask:
    """Which points lie in a mask (H, W) of the image, at whatever resolution."""
    height, width = mask.shape
    x, y = (_fractions(points, picture) * (width, height)).astype(int).T
    return mask[y.clip(0, height - 1), x.clip(0, width - 1)]


def _distinct(here: Points, there: Points) -> list[int]:
    """The matches, best first, without those beside a better one in either image."""
    kept: list[int] = []
    for row in range(len(here)):
        distances = (np.linalg.norm(side[kept] - side[row], axis=1) for side in (here, there))
        if all(distance.min(initial=_DUPLICATE) >= _DUPLICATE for distance in distances):
            kept.append(row)
    return kept


def _explained(here: Points, there: Points) -> Mask:
    """Which matches an affine map of their neighbours leads to."""
    kept = np.zeros(len(here), np.bool_)
    if len(here) <= _FEWEST_NEIGHBOURS:
        return kept
    count = min(_NEIGHBOURS + 1, len(here))  # the match itself is the nearest
    distances, neighbours = cKDTree(here).query(here, count)
    for row in range(len(here)):
        others = neighbours[row][(distances[row] <= _NEAR) & (neighbours[row] != row)]
        if len(others) >= _FEWEST_NEIGHBOURS:
            kept[row] = _agrees(here[row], there[row], here[others], there[others])
    return kept


def _agrees(place: Points, match: Points, here: Points, there: Points) -> bool:
    matrix, inliers = require_opencv().estimateAffine2D(
        here, there, ransacReprojThreshold=_TOLERANCE
    )
    if matrix is None or inliers.sum() < max(_FEWEST_NEIGHBOURS, len(here) / 2):
        return False
    linear = matrix[:, :2]
    large, small = np.linalg.svd(linear, compute_uv=False)
    if np.linalg.det(linear) <= 0 or small < _SCALES[0] or large > _SCALES[1]:
        return False
    off = np.linalg.norm(linear @ place + matrix[:, 2] - match)
    return bool(large < _ANISOTROPY * small and off <= _TOLERANCE)


def _fractions(points: Points, picture: Image.Image) -> Points:
    """Places of keypoints, whose origin is the middle of a pixel, as fractions of the image."""
    fractions: Points = ((points + 0.5) / _size(picture)).astype(np.float32)
    return fractions
