"""OpenPose: a picture's way through it, and people put together from maps and fields."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leffa.data.keypoints import to_coco_18
from leffa.preprocess.pose.assembly import FIELD_OF_LIMB, LIMBS, find_peaks, find_people, match
from leffa.preprocess.pose.openpose import OpenPose, grow, shrink_by_area

Joints = np.ndarray
HEIGHT, WIDTH = 240, 320
# Somebody facing us, around (0, 0): COCO-18.
STANCE = np.array(
    [
        *((0, -80), (0, -55), (-20, -53), (-35, -20), (-40, 10), (20, -53), (35, -20), (40, 10)),
        *((-12, 10), (-13, 50), (-14, 90), (12, 10), (13, 50), (14, 90)),
        *((-5, -85), (5, -85), (-10, -82), (10, -82)),
    ],
    np.float32,
)


def draw(people: list[Joints], width: float = 4, sigma: float = 5) -> tuple[Joints, Joints]:
    """Maps and fields as the network is trained to give them (Cao et al., equations 7 to 9).

    A joint is a Gaussian, of several the highest; a limb is a strip of unit vectors, of several
    the mean.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    maps = np.zeros((19, HEIGHT, WIDTH), np.float32)
    fields = np.zeros((38, HEIGHT, WIDTH), np.float32)
    counts = np.zeros((38, HEIGHT, WIDTH), np.float32)
    for person in people:
        for joint, place in enumerate(person):
            if not np.isnan(place).any():
                distance = (x - place[0]) ** 2 + (y - place[1]) ** 2
                maps[joint] = np.maximum(maps[joint], np.exp(-distance / sigma**2))
        for (start, end), channel in zip(LIMBS, FIELD_OF_LIMB, strict=True):
            if np.isnan(person[[start, end]]).any():
                continue
            length = np.linalg.norm(person[end] - person[start])
            across, down = (person[end] - person[start]) / length
            dx, dy = x - person[start, 0], y - person[start, 1]
            along, aside = dx * across + dy * down, np.abs(dx * down - dy * across)
            strip = (along >= 0) & (along <= length) & (aside <= width)
            fields[channel][strip] += across
            fields[channel + 1][strip] += down
            counts[channel : channel + 2, strip] += 1
    maps[18] = 1 - maps[:18].max(axis=0)
    return maps, fields / np.maximum(counts, 1)


def at(x: float, y: float) -> Joints:
    return STANCE + np.float32([x, y])


def assert_found(people: list[Joints], expected: list[Joints]) -> None:
    """Each expected person is found whole, whichever order."""
    assert len(people) == len(expected)
    for person in expected:
        errors = [np.abs(np.nan_to_num(person) - found[:, :2]).max() for found in people]
        assert min(errors) <= 1


def test_finds_one_person_with_every_joint_in_its_place() -> None:
    maps, fields = draw([at(160, 120)])
    (person,) = find_people(maps, fields)
    np.testing.assert_allclose(person[:, :2], at(160, 120), atol=1)
    assert (person[:, 2] > 0.95).all()


@pytest.mark.parametrize("apart", [30, 45, 90])
def test_tells_overlapping_people_apart(apart: float) -> None:
    """At 30 pixels the arms of the one cross the body of the other."""
    expected = [at(160 - apart / 2, 118), at(160 + apart / 2, 122)]
    assert_found(find_people(*draw(expected)), expected)


def test_tells_three_people_in_a_row_apart() -> None:
    expected = [at(100, 115), at(150, 120), at(200, 125)]
    assert_found(find_people(*draw(expected)), expected)


def test_nearness_does_not_decide_whose_an_arm_is() -> None:
    """Two wrists lie nearer to the other's elbow; the fields say which is whose."""
    left, right = at(130, 120), at(190, 120)
    left[7], right[4] = (182, 130), (138, 130)
    expected = [left, right]
    assert_found(find_people(*draw(expected)), expected)


def test_a_missing_joint_stays_empty_and_the_rest_is_found() -> None:
    person = at(160, 120)
    person[[4, 10]] = np.nan
    (found,) = find_people(*draw([person]))
    assert (found[[4, 10]] == 0).all()
    assert (np.delete(found, [4, 10], axis=0)[:, 2] > 0.9).all()


def test_two_halves_that_no_limb_joins_are_two_people() -> None:
    """Without a neck there is nothing between legs and arms; three joints are nobody."""
    person = at(160, 120)
    person[[0, 1, 14, 15, 16, 17]] = np.nan
    people = find_people(*draw([person]))
    assert people == []


def test_who_stands_out_most_comes_first() -> None:
    maps, fields = draw([at(90, 120), at(230, 120)])
    maps[:18, :, :160] *= 0.6
    people = find_people(maps, fields)
    assert people[0][1, 0] == pytest.approx(230, abs=1)


def test_peaks_are_local_maxima_above_a_tenth() -> None:
    confidence = np.zeros((60, 60), np.float32)
    y, x = np.mgrid[:60, :60]
    for height, px, py in ((1.0, 20, 15), (0.5, 45, 40), (0.05, 10, 50)):
        confidence += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 50).astype(np.float32)
    peaks = find_peaks(confidence)
    assert peaks[:, :2].tolist() == [[20, 15], [45, 40]]
    np.testing.assert_allclose(peaks[:, 2], [1, 0.5], atol=0.01)


def test_pairs_are_taken_greedily_and_each_candidate_once() -> None:
    """Hand-computed: along a field of (1, 0) the score is the cosine to the x axis."""
    field = np.zeros((2, 100, 100), np.float32)
    field[0] = 1
    starts = np.float32([[10, 50, 1], [10, 60, 1]])
    ends = np.float32([[40, 50, 1], [40, 90, 1]])
    links = match(starts, ends, field)
    # (10, 50)-(40, 50) has 1; then (10, 60) gets the end that is left, at 45 degrees.
    assert [(link.start, link.end) for link in links] == [(0, 0), (1, 1)]
    assert [link.score for link in links] == pytest.approx([1, np.sqrt(0.5)], abs=1e-6)


def test_a_limb_longer_than_half_the_picture_loses_score() -> None:
    field = np.zeros((2, 100, 200), np.float32)
    field[0] = 1
    (link,) = match(np.float32([[10, 50, 1]]), np.float32([[90, 50, 1]]), field)
    assert link.score == pytest.approx(1 + 0.5 * 100 / 80 - 1)
    assert match(np.float32([[10, 50, 1]]), np.float32([[10, 50, 1]]), field) == []


# The way of a picture through it.


class FakeNetwork:
    """Stands for a trained network: what it should give for these people, whatever it is shown."""

    def __init__(self, *people: Joints) -> None:
        maps, fields = draw(list(people))
        self.maps, self.fields = (torch.from_numpy(one)[None] for one in (maps, fields))
        self.seen: Tensor | None = None

    def __call__(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        self.seen = picture
        size = (picture.shape[2] // 8, picture.shape[3] // 8)
        fields, maps = (
            torch.nn.functional.interpolate(one, size, mode="area")
            for one in (self.fields, self.maps)
        )
        return fields, maps


@pytest.mark.parametrize(
    ("size", "left", "top", "scale"),
    [((768, 1024), 0, 0, 2), ((1536, 1024), 0, 128, 4), ((300, 1000), 115.2, 0, 1000 / 512)],
)
def test_joints_come_out_in_the_photos_own_pixels(
    size: tuple[int, int], left: float, top: float, scale: float
) -> None:
    """The scene stands for the canvas of 384x512, on which the photo lies padded, and for the
    few columns of grey beside it."""
    network = FakeNetwork(at(160, 120))
    joints = OpenPose(network).find_pose(Image.new("RGB", size, (255, 0, 0)))
    assert joints.shape == (25, 3)
    on_canvas = at(160, 120) * np.float32([384 / 138 * 144 / WIDTH, 512 / HEIGHT])
    expected = (on_canvas - np.float32([left, top])) * scale
    inside = ((expected > 0) & (expected < size)).all(axis=1)
    inside[14:] = False  # eyes and ears
    # Cells are 22 pixels of the canvas wide.
    np.testing.assert_allclose(to_coco_18(joints)[inside, :2], expected[inside], atol=16 * scale)
    assert (joints[[8, *range(19, 25)]] == 0).all()
    assert ((joints[:, :2] >= 0) & (joints[:, :2] < size)).all()


def test_the_network_reads_the_padded_photo_at_184_high() -> None:
    network = FakeNetwork(at(160, 120))
    OpenPose(network).find_pose(Image.new("RGB", (640, 480), (255, 0, 0)))
    assert network.seen is not None
    assert network.seen.shape == (1, 3, 184, 144)
    # Blue, green, red from -0.5 to 0.5; white above the photo, grey beside the canvas.
    red, white = torch.tensor([-0.5, -0.5, 255 / 256 - 0.5]), torch.full((3,), 255 / 256 - 0.5)
    torch.testing.assert_close(network.seen[0, :, 92, 50], red)
    torch.testing.assert_close(network.seen[0, :, 5, 50], white)
    assert (network.seen[..., 138:] == 0).all()


def test_fine_patterns_are_averaged_before_the_network_sees_them() -> None:
    rows, columns = np.indices((2048, 1536))
    checked = np.where((rows + columns) % 2, 255, 0).astype(np.uint8)
    network = FakeNetwork(at(160, 120))
    OpenPose(network).find_pose(Image.fromarray(checked).convert("RGB"))
    assert network.seen is not None
    assert network.seen[..., 4:-4, 4:134].abs().max() < 0.02


def test_shrinks_as_opencv_does_by_area() -> None:
    cv2 = pytest.importorskip("cv2", reason="compares with opencv-python, which is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (512, 384, 3)).astype(np.float32)
    expected = cv2.resize(pixels, (138, 184), interpolation=cv2.INTER_AREA)
    small = shrink_by_area(torch.from_numpy(pixels).permute(2, 0, 1)[None], (184, 138))
    np.testing.assert_allclose(small[0].permute(1, 2, 0), expected, atol=1e-2)


def test_enlarges_as_opencv_does_by_lanczos() -> None:
    cv2 = pytest.importorskip("cv2", reason="compares with opencv-python, which is not installed")
    maps = np.random.default_rng(0).random((2, 23, 18), np.float32)
    for one, grown in zip(maps, grow(torch.from_numpy(maps), (184, 138), (384, 512)), strict=True):
        expected = cv2.resize(one, (144, 184), interpolation=cv2.INTER_LANCZOS4)[:, :138]
        expected = cv2.resize(expected.copy(), (384, 512), interpolation=cv2.INTER_LANCZOS4)
        np.testing.assert_allclose(grown, expected, atol=1e-3)


def test_the_largest_person_is_taken_though_a_smaller_one_shows_more_joints() -> None:
    """The first stands close to the camera, which sees no further down than the hips."""
    near, far = 2 * STANCE + np.float32([225, 180]), at(50, 120)
    near[[9, 10, 12, 13, 14, 15, 16, 17]] = np.nan
    estimator, image = OpenPose(FakeNetwork(near, far)), Image.new("RGB", (384, 512))
    people = estimator.find_everyone(image)
    assert [person[1, 0] > 192 for person in people] == [False, True]
    assert estimator.find_pose(image)[1, 0] > 192


def test_nobody_in_the_picture_is_told() -> None:
    with pytest.raises(ValueError, match="no person was found"):
        OpenPose(FakeNetwork()).find_pose(Image.new("RGB", (64, 64)))


def test_the_fields_channels_are_in_the_published_order() -> None:
    """The right leg, the left leg, right arm and ear, left arm and ear, then the face."""
    in_order = [
        *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
        *((1, 2), (2, 3), (3, 4), (2, 16), (1, 5), (5, 6), (6, 7), (5, 17)),
        *((1, 0), (0, 14), (0, 15), (14, 16), (15, 17)),
    ]
    channels = dict(zip(LIMBS, FIELD_OF_LIMB, strict=True))
    assert [channels[limb] for limb in in_order] == list(range(0, 38, 2))


def test_a_field_that_stops_half_way_joins_nothing() -> None:
    """However strong it is there: more than eight of the ten samples must lie along it."""
    field = np.zeros((2, 100, 100), np.float32)
    field[0, :, :40] = 9
    starts, ends = np.float32([[10, 50, 1]]), np.float32([[50, 50, 1]])
    assert match(starts, ends, field) == []
    field[0] = 1
    assert len(match(starts, ends, field)) == 1
