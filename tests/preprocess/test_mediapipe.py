"""MediaPipe: its landmarks as BODY_25, and a real run on photographs where it is installed."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.data.keypoints import read_keypoints
from leffa.data.recipe import PersonMaps
from leffa.preprocess.agnostic import AGNOSTIC
from leffa.preprocess.parsing.coarse import CoarseParser
from leffa.preprocess.pose import mediapipe_worker as worker
from leffa.preprocess.pose.mediapipe import MediaPipe, to_joints

INTERPRETER = "LEFFA_MEDIAPIPE_PYTHON"


def landmarks() -> np.ndarray:
    """Landmark n at x = n / 100, y = n / 50, all in sight."""
    numbers = np.arange(33)
    return np.stack([numbers / 100, numbers / 50, np.full(33, 0.9)], axis=1).astype(np.float32)


def test_landmarks_become_body_25_in_pixels() -> None:
    joints = to_joints(landmarks(), (200, 100))
    # Nose; the person's right shoulder, elbow, wrist; left ankle, right eye, left toe.
    for joint, landmark in ((0, 0), (2, 12), (3, 14), (4, 16), (14, 27), (15, 5), (19, 31)):
        np.testing.assert_allclose(joints[joint], [2 * landmark, 2 * landmark, 0.9], rtol=1e-5)
    np.testing.assert_allclose(joints[1, :2], [23, 23])  # between 11 and 12
    np.testing.assert_allclose(joints[8, :2], [47, 47], rtol=1e-6)  # between 23 and 24
    assert (joints[[20, 23]] == 0).all()  # small toes


def test_hidden_joints_and_those_out_of_the_picture_are_missing() -> None:
    points = landmarks()
    points[12, 2] = 0.4
    points[26, 1] = 1.02
    points[15, 0] = -0.01
    joints = to_joints(points, (100, 100))
    assert (joints[[2, 10, 7]] == 0).all()
    assert (joints[1] == 0).all()  # a neck needs both shoulders
    assert joints[5, 2] > 0


def test_an_environment_without_mediapipe_is_told_with_the_remedy(tmp_path: Path) -> None:
    if importlib.util.find_spec("mediapipe") is not None:
        pytest.skip("mediapipe is installed in this environment")
    with pytest.raises(ValueError, match=r"cannot run mediapipe .*pip install mediapipe==0.10.14"):
        MediaPipe(sys.executable)
    with pytest.raises(FileNotFoundError, match="no such interpreter"):
        MediaPipe(tmp_path / "python")


def test_an_interpreter_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no file of the working folder, and it has no mediapipe: so it was started."""
    (tmp_path / "python_of_mine").symlink_to(shutil.which("false") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"python_of_mine: mediapipe stopped"):
        MediaPipe("python_of_mine")


WORKER = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from mediapipe_worker import read, write

write(sys.stdout.buffer)
while (message := read(sys.stdin.buffer)) is not None:
    image = message["image"]
    if image.max() == 255:
        sys.exit(1)
    landmarks, silhouette = np.zeros((33, 3), np.float32), image[..., 0].astype(np.float32)
    write(sys.stdout.buffer, landmarks=landmarks, silhouette=silhouette)
"""


@pytest.mark.posix
def test_a_worker_that_died_is_told_and_started_again_for_the_next_photo(tmp_path: Path) -> None:
    """A worker of our own stands for mediapipe; it dies of a white picture."""
    (tmp_path / "worker.py").write_text(WORKER.format(folder=str(Path(worker.__file__).parent)))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "{tmp_path}/worker.py"\n')
    python.chmod(0o755)
    dark = Image.new("RGB", (8, 6), (7, 7, 7))
    with MediaPipe(python) as process:
        for _ in range(2):
            with pytest.raises(ValueError, match="mediapipe stopped"):
                process.find_pose(Image.new("RGB", (8, 6), (255, 255, 255)))
            assert (process.find_pose_and_silhouette(dark)[1] == 7).all()
        process._process.kill()  # between two photos
        process._process.wait()
        assert (process.find_pose_and_silhouette(dark)[1] == 7).all()


@pytest.fixture(scope="module")
def mediapipe() -> Iterator[MediaPipe]:
    python = os.environ.get(INTERPRETER, sys.executable)
    try:
        with MediaPipe(python) as process:
            yield process
    except ValueError:
        pytest.skip(f"needs mediapipe==0.10.14; {INTERPRETER} names the interpreter that has it")


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Path:
    folder = shared / "samples/viton_hd_parse_pose/test"
    if not folder.is_dir():
        pytest.skip(f"no photographs at {folder}")
    return folder


@pytest.mark.slow
def test_joints_agree_with_the_data_sets_openpose(mediapipe: MediaPipe, photographs: Path) -> None:
    """On average within 3 % of the height, left and right the right way round."""
    errors = []
    for path in sorted((photographs / "image").iterdir()):
        with Image.open(path) as image:
            found = mediapipe.find_pose(image)
            pose = photographs / "openpose-json" / f"{path.stem}_keypoints.json"
            true = read_keypoints(pose, image.size) * np.float32((*image.size, 1))
        both = (found[:, 2] > 0) & (true[:, 2] > 0)
        assert both[[0, 1, 2, 5]].all()
        errors += list(np.linalg.norm((found - true)[both, :2], axis=1) / image.height)
    assert np.mean(errors) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["hr_viton", "ootdiffusion", "leffa_hd_clean"])
def test_masks_cover_what_is_worn_and_resemble_those_of_the_true_parsing(
    mediapipe: MediaPipe, photographs: Path, recipe: str
) -> None:
    overlaps = []
    for path in sorted((photographs / "image").iterdir()):
        with Image.open(path) as image:
            joints = mediapipe.find_pose(image)
            rough = CoarseParser(mediapipe).parse(image)
            pose = photographs / "openpose-json" / f"{path.stem}_keypoints.json"
            true_joints = read_keypoints(pose, image.size) * np.float32((*image.size, 1))
        with Image.open(photographs / "image-parse" / f"{path.stem}.png") as labels:
            parse = np.array(labels)
        mask = AGNOSTIC[recipe](PersonMaps(rough, joints))
        true = AGNOSTIC[recipe](PersonMaps(parse, true_joints))
        assert mask[np.isin(parse, (5, 6, 7))].mean() > 0.96
        assert mask[parse == 13].mean() < 0.25
        overlaps.append((mask & true).sum() / (mask | true).sum())
    assert np.mean(overlaps) > 0.75


@pytest.mark.slow
def test_every_person_of_viton_hd_has_shoulders_and_a_mask(
    mediapipe: MediaPipe, shared: Path
) -> None:
    folder = shared / "samples/viton_hd_pairs/test/image"
    if not folder.is_dir():
        pytest.skip(f"no photographs at {folder}")
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            joints = mediapipe.find_pose(image)
            rough = CoarseParser(mediapipe).parse(image)
        assert (joints[[2, 5], 2] > 0).all(), path.name
        mask = AGNOSTIC["hr_viton"](PersonMaps(rough, joints))
        assert 0.05 < mask.mean() < 0.6, path.name


@pytest.mark.slow
def test_a_picture_of_nobody_is_told_and_the_next_one_is_read(
    mediapipe: MediaPipe, photographs: Path
) -> None:
    with pytest.raises(ValueError, match="no person was found"):
        mediapipe.find_pose(Image.new("RGB", (200, 300), (90, 120, 60)))
    with Image.open(next((photographs / "image").iterdir())) as image:
        _, silhouette = mediapipe.find_pose_and_silhouette(image)
        assert silhouette.shape == (image.height, image.width)
