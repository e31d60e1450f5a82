"""From confidence maps and part affinity fields to people (Cao et al., 2017, section 2.4).

Peaks of a confidence map are candidates for its joint. Two candidates belong to one limb where the
field between them points from the one to the other; for each limb the best pairs are taken first,
each candidate once. Limbs that share a candidate are one person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from leffa.data.keypoints import COCO_18

Floats = NDArray[np.float32]

# Limbs as pairs of COCO-18 joints, in the order in which people are put together. A limb's field
# is the pair of channels beside it. The last two, from shoulder to ear, only join what is there.
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
    *((2, 16), (5, 17)),
)
FIELD_OF_LIMB = (12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26)
_JOINING_ONLY = (17, 18)

_SMOOTHING = 3  # pixels
_LOWEST_PEAK = 0.1
_SAMPLES = 10  # along a limb
_LOWEST_ALONG = 0.05  # of a sample that counts as along the field
_SHARE_ALONG = 0.8  # of the samples
_FEWEST_JOINTS = 4
_LOWEST_MEAN = 0.4  # of a person's score by joint


class Link(NamedTuple):
    """Two candidates of a limb, by their numbers, and how well the field agrees."""

    start: int
    end: int
    score: float


@dataclass
class _Person:
    """Candidates by joint, and the sum of their scores and of their limbs'."""

    joints: dict[int, int]
    score: float


def find_people(maps: Floats, fields: Floats) -> list[Floats]:
    """All people in the image, the most prominent first.

    Args:
        maps: (18 or more, H, W) confidence of each joint; further maps are not read.
        fields: (38, H, W) x and y of each limb's direction.

    Returns:
        Of each person (18, 3): x, y in pixels, confidence; (0, 0, 0) for a joint not found.
    """
    peaks = [find_peaks(one) for one in maps[:COCO_18]]
    links = [
        match(peaks[start], peaks[end], fields[channel : channel + 2])
        for (start, end), channel in zip(LIMBS, FIELD_OF_LIMB, strict=True)
    ]
    people = [
        person
        for person in _assemble(peaks, links)
        if len(person.joints) >= _FEWEST_JOINTS
        and person.score / len(person.joints) >= _LOWEST_MEAN
    ]
    found = []
    for person in sorted(people, key=lambda person: -person.score):
        joints = np.zeros((COCO_18, 3), np.float32)
        for joint, peak in person.joints.items():
            joints[joint] = peaks[joint][peak]
        found.append(joints)
    return found


def find_peaks(confidence: Floats) -> Floats:
    """(N, 3) x, y and confidence of the local maxima of a map (H, W)."""
    smooth = ndimage.gaussian_filter(confidence.astype(np.float64), _SMOOTHING)
    cross = ndimage.generate_binary_structure(2, 1)
    highest = ndimage.maximum_filter(smooth, footprint=cross, mode="constant")
    summits, _ = ndimage.label((smooth == highest) & (smooth > _LOWEST_PEAK), np.ones((3, 3)))
    # A joint between two pixels may give both the same value: that is one peak.
    rows, columns = np.nonzero(summits)
    _, first = np.unique(summits[rows, columns], return_index=True)
    rows, columns = rows[first], columns[first]
    return np.stack([columns, rows, confidence[rows, columns]], axis=-1).astype(np.float32)


def match(starts: Floats, ends: Floats, field: Floats) -> list[Link]:
    """Pairs of a limb's candidates, each candidate in one at most: greedy by agreement.

    Args:
        starts, ends: (N, 3) and (M, 3) x, y, confidence.
        field: (2, H, W) of the limb.
    """
    if not (len(starts) and len(ends)):
        return []
    height, width = field.shape[1:]
    across = ends[None, :, :2] - starts[:, None, :2]  # (N, M, 2)
    length = np.linalg.norm(across, axis=-1)
    direction = across / np.maximum(length, 1e-6)[..., None]
    steps = np.linspace(0, 1, _SAMPLES)[:, None]
    places = starts[:, None, None, :2] + across[:, :, None] * steps  # (N, M, samples, 2)
    columns, rows = np.moveaxis(places.round().astype(int), -1, 0)
    sampled = field[:, rows.clip(0, height - 1), columns.clip(0, width - 1)]
    along = np.einsum("cnms,nmc->nms", sampled, direction)
    # A limb longer than half the image's height loses score.
    score = along.mean(axis=-1) + np.minimum(0.5 * height / np.maximum(length, 1e-6) - 1, 0)
    fits = (along > _LOWEST_ALONG).sum(axis=-1) > _SHARE_ALONG * _SAMPLES
    fits &= (score > 0) & (length > 0)
    links: list[Link] = []
    for start, end in sorted(zip(*np.nonzero(fits), strict=True), key=lambda pair: -score[pair]):
        if all(start != link.start and end != link.end for link in links):
            links.append(Link(int(start), int(end), float(score[start, end])))
    return links


def _assemble(peaks: Sequence[Floats], links: Sequence[list[Link]]) -> list[_Person]:
    people: list[_Person] = []
    for number, (first, second) in enumerate(LIMBS):
        for link in links[number]:
            ends = {first: link.start, second: link.end}
            owners = [
                person
                for person in people
                if any(person.joints.get(joint) == peak for joint, peak in ends.items())
            ]
            if not owners:
                if number not in _JOINING_ONLY:
                    people.append(_Person(ends, link.score + _confidence(peaks, ends)))
            elif len(owners) == 1 or owners[0].joints.keys() & owners[1].joints.keys():
                # The second joint is the new one; a person who already has it keeps the better.
                person = owners[0]
                new = next((joint for joint in (second, first) if joint not in person.joints), None)
                if new is not None:
                    person.joints[new] = ends[new]
                    person.score += link.score + _confidence(peaks, {new: ends[new]})
            else:
                kept, other = owners[:2]
                kept.joints |= other.joints
                kept.score += other.score + link.score
                people = [person for person in people if person is not other]
    return people


def _confidence(peaks: Sequence[Floats], joints: dict[int, int]) -> float:
    return float(sum(peaks[joint][peak, 2] for joint, peak in joints.items()))
