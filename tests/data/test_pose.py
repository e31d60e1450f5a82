from pathlib import Path

import numpy as np
import pytest

from leffa.data.keypoints import BODY_25_MIRROR, read_keypoints, to_body_25, to_coco_18
from leffa.data.pose import CHANNELS, pose_tensor

SIZE = (176, 256)


def standing() -> np.ndarray:
    """(25, 3) a person facing us, without left wrist."""
    points = [
        *((88, 30), (88, 60), (60, 65), (50, 100), (45, 140), (116, 65), (126, 100), (0, 0)),
        *((70, 140), (70, 190), (70, 240), (106, 140), (106, 190), (106, 240)),
        *((84, 25), (92, 25), (78, 28), (98, 28)),
    ]
    coco = np.array([(x / 176, y / 256, float(x > 0)) for x, y in points], np.float32)
    return to_body_25(coco)


def test_coco_becomes_body_25_and_back() -> None:
    coco = np.random.default_rng(0).random((18, 3)).astype(np.float32)
    body = to_body_25(coco)
    assert body.shape == (25, 3)
    assert (to_coco_18(body) == coco).all()
    assert not body[[8, *range(19, 25)]].any()
    assert (body[[9, 12, 15, 18]] == coco[[8, 11, 14, 17]]).all()


def test_a_heat_map_is_a_gaussian_of_six_pixels_at_its_joint() -> None:
    pose = pose_tensor(standing(), SIZE).numpy()
    assert pose.shape == (CHANNELS, 256, 176) == (21, 256, 176)
    y, x = np.mgrid[:256, :176]
    for joint, (column, row) in ((0, (88, 30)), (4, (45, 140)), (10, (70, 240))):
        expected = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 6**2))
        np.testing.assert_allclose(pose[3 + joint], expected, atol=1e-5)


def test_a_missing_joint_leaves_its_map_and_its_bones_empty() -> None:
    whole = standing()
    whole[7] = (131 / 176, 140 / 256, 1)
    pose, complete = pose_tensor(standing(), SIZE), pose_tensor(whole, SIZE)
    assert not pose[3 + 7].any()
    assert not pose[:3, 110:150, 124:140].any()  # the forearm
    assert complete[:3, 110:150, 124:140].any()
    assert complete[3 + 7].max() == 1


def test_bones_and_joints_have_the_published_colours() -> None:
    """Joint k has hue k/18 in full, bone k the same hue at 0.6 of the brightness."""
    skeleton = pose_tensor(standing(), SIZE)[:3].numpy()
    np.testing.assert_allclose(skeleton[:, 140, 45] * 255, (170, 255, 0), atol=1)  # right wrist
    np.testing.assert_allclose(skeleton[:, 30, 88] * 255, (255, 0, 0), atol=1)  # nose
    thigh = skeleton[:, 165, 68:73].max(axis=1) * 255  # hip to knee, straight down
    np.testing.assert_allclose(thigh, (0, 153, 51), atol=1)


def test_bones_and_joints_are_as_wide_as_the_published_ones() -> None:
    """Measured on the authors' pictures of 256: a line covers 3.5 pixels, a joint's disc 7.4."""
    joints = np.zeros((18, 3), np.float32)
    joints[[8, 9]] = [(70 / 176, 60 / 256, 1), (70 / 176, 200 / 256, 1)]  # hip above knee
    skeleton = pose_tensor(to_body_25(joints), SIZE)[:3].numpy()
    bone, joint = skeleton[:, 130].max(axis=0), skeleton[:, 60, 60:80].max(axis=0)
    assert bone.sum() / bone.max() == pytest.approx(3.5, abs=0.2)
    assert joint.sum() / joint.max() == pytest.approx(7.4, abs=0.2)


@pytest.mark.parametrize("height", [128, 512])
def test_widths_grow_with_the_height(height: int) -> None:
    size = (height * 176 // 256, height)
    small, other = pose_tensor(standing(), SIZE), pose_tensor(standing(), size)
    assert other.shape == (21, height, size[0])
    for channels in (slice(0, 3), slice(3, 21)):
        share = other[channels].mean() / small[channels].mean()
        assert abs(float(share) - 1) < 0.12


def test_the_mirrored_tensor_is_that_of_the_mirrored_person() -> None:
    joints = standing()
    turned = joints[list(BODY_25_MIRROR)].copy()
    turned[:, 0] = np.where(turned[:, 2] > 0, 1 - turned[:, 0], 0)
    by_points = pose_tensor(turned, SIZE)
    by_pixels = pose_tensor(joints[list(BODY_25_MIRROR)], SIZE).flip(-1)
    # Joints sit on whole pixels, counted from the left, so they may differ by one.
    for one, other in zip(by_points[3:], by_pixels[3:], strict=True):
        assert abs(int(one.amax(0).argmax()) - int(other.amax(0).argmax())) <= 1


def test_real_keypoints_fill_all_visible_maps(shared: Path) -> None:
    for path in (shared / "samples/viton_hd_parse_pose/test/openpose-json").iterdir():
        joints = read_keypoints(path, (768, 1024))
        pose = pose_tensor(joints, (192, 256))
        seen = to_coco_18(joints)[:, 2] > 0
        assert (pose[3:].amax((1, 2)).numpy() == seen).all()
        assert pose[:3].any()
