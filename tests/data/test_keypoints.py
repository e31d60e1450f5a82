import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leffa.data.files import PersonFiles
from leffa.data.keypoints import BODY_25_MIRROR, Annotation, read_annotation, read_keypoints
from leffa.data.pose import draw_skeleton
from leffa.data.published import VitonHD

SIZE = (24, 32)


def test_all_formats_give_the_same_body(viton_hd: Path, viton: Path, dress_code: Path) -> None:
    hd = read_keypoints(viton_hd / "train/openpose_json/00001_00_keypoints.json", SIZE)
    old = read_keypoints(viton / "train/pose/000001_0_keypoints.json", SIZE)
    dress = read_keypoints(dress_code / "dresses/keypoints/000005_2.json", SIZE)
    assert hd.shape == (25, 3)
    coco = [*range(8), *range(9, 19)]
    np.testing.assert_allclose(old[coco], hd[coco], atol=1e-6)
    np.testing.assert_allclose(dress[coco], hd[coco], atol=1e-6)
    np.testing.assert_allclose(hd[5], (17 / 24, 9 / 32, 0.9), atol=1e-6)


def test_a_missing_joint_is_zero(viton: Path) -> None:
    joints = read_keypoints(viton / "train/pose/000001_0_keypoints.json", SIZE)
    assert not joints[[8, 11, 14, 19, 24]].any()


def test_the_mirror_exchanges_left_and_right_and_is_its_own_inverse() -> None:
    mirror = np.array(BODY_25_MIRROR)
    assert (mirror[mirror] == np.arange(25)).all()
    assert (mirror[[2, 9, 15, 22]] == (5, 12, 16, 19)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"people": []}', "no person was found"),
        ('{"people"', "is not JSON"),
        ("[1, 2]", "holds no OpenPose or DressCode keypoints"),
        ('{"people": [{"hands": []}]}', "holds no OpenPose or DressCode keypoints"),
        (json.dumps({"people": [{"pose_keypoints": [1, 2]}]}), "rows of 3"),
        (json.dumps({"people": [{"pose_keypoints": [1, 2, 3]}]}), "has 1 joints"),
        (json.dumps({"keypoints": [["a", 0, 0, 0]] * 18}), "rows of 4"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pose.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"pose\.json: .*{message}") as error:
        read_keypoints(path, SIZE)
    assert "\n" not in str(error.value)


def person(left: float, top: float, height: float) -> list[float]:
    """25 joints that fill a box of 1:3, in a picture of 300x400."""
    places = np.random.default_rng(0).random((25, 2)) * (height / 3, height) + (left, top)
    places[:2] = (left, top), (left + height / 3, top + height)
    return np.concatenate([places, np.full((25, 1), 0.9)], axis=1).ravel().tolist()


def write_people(path: Path, *people: list[float]) -> Path:
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": values} for values in people]}))
    return path


def test_the_largest_person_is_taken_wherever_the_file_names_them(tmp_path: Path) -> None:
    passer_by, main = person(10, 300, 60), person(100, 20, 360)
    alone = read_keypoints(write_people(tmp_path / "one.json", main), (300, 400))
    path = write_people(tmp_path / "two.json", passer_by, main)
    np.testing.assert_array_equal(read_keypoints(path, (300, 400)), alone)


def test_the_person_of_the_parsing_is_taken_before_a_larger_one(tmp_path: Path) -> None:
    larger, parsed = person(10, 10, 390), person(200, 150, 240)
    body = np.zeros((400, 300), np.bool_)
    body[150:390, 200:280] = True
    path = write_people(tmp_path / "two.json", larger, parsed)
    alone = read_keypoints(write_people(tmp_path / "one.json", parsed), (300, 400))
    np.testing.assert_array_equal(read_keypoints(path, (300, 400), lambda: body), alone)
    assert (read_keypoints(path, (300, 400)) != alone).any()


def test_a_sample_has_the_joints_of_the_person_of_its_parse(viton_hd: Path) -> None:
    """The parse of the copies is background in the left quarter, where somebody larger stands."""
    record = VitonHD(viton_hd, "train", allow_subset=True)[0]
    expected = PersonFiles(record).keypoints
    assert isinstance(record.keypoints, Path)
    (parsed,) = json.loads(record.keypoints.read_text())["people"]
    larger = np.stack([np.full(25, 2), np.linspace(2, 31, 25), np.ones(25)], axis=1)
    write_people(record.keypoints, larger.ravel().tolist(), parsed["pose_keypoints_2d"])
    np.testing.assert_array_equal(PersonFiles(record).keypoints, expected)
    without = replace(record, parse=None)
    assert (PersonFiles(without).keypoints != expected).any()


def test_someone_without_joints_is_no_person(tmp_path: Path) -> None:
    nobody, main = [0.0] * 75, person(100, 20, 360)
    path = write_people(tmp_path / "two.json", nobody, [], main)
    assert read_keypoints(path, (300, 400))[:, 2].all()
    with pytest.raises(ValueError, match="no person was found"):
        read_keypoints(write_people(path, nobody, []), (300, 400))


def test_joints_of_a_picture_of_another_size_are_named_as_that(tmp_path: Path) -> None:
    values = np.array(person(100, 20, 360)).reshape(-1, 3) * (10, 10, 1)
    path = write_people(tmp_path / "large.json", values.ravel().tolist())
    with pytest.raises(ValueError, match=r"large.json: its joints reach x 2200, y 3800, and the "):
        read_keypoints(path, (300, 400))


def test_fractions_of_the_picture_are_read_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = person(100, 20, 360)
    values = np.array(pixels).reshape(-1, 3) / (300, 400, 1)
    path = write_people(tmp_path / "scaled.json", values.ravel().tolist())
    expected = read_keypoints(write_people(tmp_path / "pixels.json", pixels), (300, 400))
    for _ in range(2):
        np.testing.assert_allclose(read_keypoints(path, (300, 400)), expected, atol=1e-6)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: joints are fractions of the image (0 to 1), and are read as such"
    ]
    centred = (values * (2, 2, 1) - (1, 1, 0)).ravel().tolist()
    with pytest.raises(ValueError, match="its joints run from -1 to 1; write pixels"):
        read_keypoints(write_people(path, centred), (300, 400))


def test_the_skeleton_lies_on_the_joints_and_leaves_out_what_is_missing(viton: Path) -> None:
    joints = read_keypoints(viton / "train/pose/000001_0_keypoints.json", SIZE)
    picture = draw_skeleton(joints, (96, 128))
    assert picture.shape == (128, 96, 3)
    for x, y, confidence in joints:
        if confidence > 0:
            assert picture[round(y * 128), round(x * 96)].any()
    armless = joints.copy()
    armless[[6, 7]] = 0
    assert not draw_skeleton(armless, (96, 128))[60:80, 71:].any()


def test_real_keypoints_lie_in_the_picture(shared: Path) -> None:
    for path in (shared / "samples/viton_hd_parse_pose/test/openpose-json").iterdir():
        joints = read_keypoints(path, (768, 1024))
        assert joints[[0, 1, 2, 5], 2].all()
        assert ((joints >= 0) & (joints <= 1)).all()


def test_unresized_joints_lose_the_white_border(tmp_path: Path) -> None:
    x, y = list(range(40, 58)), list(range(100, 118))
    x[3] = y[3] = -1
    path = tmp_path / "fasion-annotation-test.csv"
    path.write_text(f"name:keypoints_y:keypoints_x\na.jpg: {json.dumps(y)}: {json.dumps(x)}\n")
    joints = read_annotation(Annotation(path, (176, 256), "a.jpg", left=40))
    assert np.allclose(joints[0], [0, 100 / 256, 1])
    assert np.allclose(joints[2], [2 / 176, 102 / 256, 1])
    assert joints[3].tolist() == [0, 0, 0]
    text = tmp_path / "a.txt"
    text.write_text("\n".join(f"{a} {b}" for a, b in zip(x, y, strict=True)))
    assert np.array_equal(read_annotation(Annotation(text, (176, 256), left=40)), joints)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n", r"has no header 'name:keypoints_y:keypoints_x'"),
        ("name:keypoints_y:keypoints_x\nb.jpg:[1]:[1]\n", r"has no row for a.jpg"),
        ("name:keypoints_y:keypoints_x\na.jpg:[1]:[1]\n", r"a.jpg: has joints of shape \(1, 2\)"),
        ("name:keypoints_y:keypoints_x\na.jpg:[1, 2]:[1]\n", r"joints of a.jpg are no lists"),
        ("name:keypoints_y:keypoints_x\na.jpg:x:y\n", r"joints of a.jpg are no lists of numbers"),
    ],
)
def test_a_broken_list_of_joints_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "annotation.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_annotation(Annotation(path, (176, 256), "a.jpg"))
