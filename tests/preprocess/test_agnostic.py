from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from leffa.data.keypoints import read_keypoints
from leffa.data.recipe import PersonMaps
from leffa.preprocess.agnostic import AGNOSTIC

RECIPES = ["hr_viton", "ladi_vton", "viton", "viton_hd"]  # for upper garments, by CIHP labels
UPPER_CLOTHES, TROUSERS, FACE, LEFT_ARM, RIGHT_ARM = 5, 9, 13, 14, 15


def figure(height: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A person facing us, arms away from the body, drawn at 768x1024 and shrunk to the height."""
    parse = np.zeros((1024, 768), np.uint8)
    parse[300:680, 270:498] = UPPER_CLOTHES
    parse[680:, 280:488] = TROUSERS
    parse[100:260, 324:444] = FACE
    parse[420:760, 190:250] = RIGHT_ARM
    parse[420:760, 518:578] = LEFT_ARM
    joints = np.zeros((25, 3), np.float32)
    for joint, x, y in (
        *((0, 384, 190), (1, 384, 310), (2, 284, 320), (3, 230, 470), (4, 220, 620)),
        *((5, 484, 320), (6, 538, 470), (7, 548, 620), (8, 384, 660), (9, 330, 660)),
        (12, 438, 660),
    ):
        joints[joint] = (x, y, 1)
    step = 1024 // height
    return parse[::step, ::step], joints * np.float32([1 / step, 1 / step, 1])


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("name", RECIPES)
def test_hides_the_outline_of_the_garment(name: str) -> None:
    parse, joints = figure(1024)
    mask = AGNOSTIC[name](PersonMaps(parse, joints))
    assert mask[400:600, 250:270].all()
    assert mask[400:600, 498:518].all()


@pytest.mark.parametrize("name", ["hr_viton", "ladi_vton", "viton"])
def test_keeps_the_hands(name: str) -> None:
    parse, joints = figure(1024)
    mask = AGNOSTIC[name](PersonMaps(parse, joints))
    assert not mask[740:760, 190:250].any()
    assert not mask[740:760, 518:578].any()
    assert mask[430:600, 200:250].mean() > 0.95


def test_the_first_recipe_takes_the_hands_too() -> None:
    parse, joints = figure(1024)
    assert AGNOSTIC["viton_hd"](PersonMaps(parse, joints))[640:700, 200:250].all()


def test_brushes_of_hr_viton_have_their_published_sizes() -> None:
    """Shoulders 200 px apart: r = 200 // 16 + 1 = 13; the neck's box is 5 r wide, 9 r high."""
    parse, joints = figure(1024)
    mask = AGNOSTIC["hr_viton"](PersonMaps(np.zeros_like(parse), joints))
    row = np.flatnonzero(mask[310 - 9 * 13 + 2])
    assert (row[0], row[-1]) == (384 - 5 * 13, 384 + 5 * 13)
    assert not mask[310 - 9 * 13 - 2].any()


def test_keeps_hair_on_the_shoulders_only_in_the_recipes_that_say_so() -> None:
    parse, joints = figure(1024)
    parse[280:400, 300:340] = 2
    kept = {
        name: not AGNOSTIC[name](PersonMaps(parse, joints))[320:400, 305:335].any()
        for name in RECIPES
    }
    assert kept == {"viton_hd": False, "hr_viton": False, "ladi_vton": True, "viton": True}


def test_ours_covers_a_garment_wider_than_the_pose_suggests() -> None:
    parse, joints = figure(256)
    parse[100:150, 30:160] = UPPER_CLOTHES
    wide = parse == UPPER_CLOTHES
    assert AGNOSTIC["viton"](PersonMaps(parse, joints))[wide].all()
    assert not AGNOSTIC["hr_viton"](PersonMaps(parse, joints))[wide].all()


@pytest.mark.parametrize("name", RECIPES)
def test_a_missing_arm_is_left_out(name: str) -> None:
    parse, joints = figure(1024)
    joints[[3, 4]] = 0
    mask = AGNOSTIC[name](PersonMaps(parse, joints))
    assert not mask[640:700, 190:210].any()
    assert mask[500:600, 540].all()


@pytest.mark.parametrize("name", ["viton_hd", "hr_viton", "viton"])
@pytest.mark.parametrize("missing", [[9], [12], [9, 12]])
def test_missing_hips_are_put_below_the_shoulders(name: str, missing: list[int]) -> None:
    parse, joints = figure(1024)
    whole = AGNOSTIC[name](PersonMaps(parse, joints))
    joints[missing] = 0
    assert overlap(AGNOSTIC[name](PersonMaps(parse, joints)), whole) > 0.9


@pytest.mark.parametrize("name", ["viton_hd", "hr_viton", "viton"])
def test_a_missing_neck_is_put_between_the_shoulders(name: str) -> None:
    parse, joints = figure(1024)
    whole = AGNOSTIC[name](PersonMaps(parse, joints))
    joints[1] = 0
    assert overlap(AGNOSTIC[name](PersonMaps(parse, joints)), whole) > 0.97


@pytest.mark.parametrize("name", RECIPES)
def test_a_person_without_shoulders_is_an_error(name: str) -> None:
    parse, joints = figure(256)
    joints[5] = 0
    with pytest.raises(ValueError, match="the pose has no shoulders"):
        AGNOSTIC[name](PersonMaps(parse, joints))


@pytest.fixture(scope="module")
def real_persons() -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Four persons of VITON-HD. None comes with its mask file, so no overlap can be measured."""
    folder = Path(__file__).parents[3] / "shared/samples/viton_hd_parse_pose/test"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    persons = []
    for path in sorted((folder / "image-parse").iterdir()):
        with Image.open(path) as image:
            parse = np.array(image)
        pose = folder / "openpose-json" / f"{path.stem}_keypoints.json"
        persons.append((parse, read_keypoints(pose, image.size) * np.float32((*image.size, 1))))
    return persons


@pytest.mark.parametrize("name", sorted({*AGNOSTIC} - {"catvton", "leffa_dc", "leffa_hd"}))
def test_covers_what_real_persons_wear_and_no_more_than_needed(
    name: str, real_persons: list[tuple[NDArray[np.uint8], NDArray[np.float32]]]
) -> None:
    for parse, joints in real_persons:
        mask = AGNOSTIC[name](PersonMaps(parse, joints))
        assert mask[np.isin(parse, (5, 6, 7))].mean() > 0.99
        assert not mask[np.isin(parse, (9, 12, 13))].any()
        assert 0.2 < mask.mean() < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["00001_00", "00002_00", "00005_00"])
def test_draws_the_mask_files_of_viton_hd(
    shared: Path, name: str, script: Callable[[str], Any]
) -> None:
    """The shape of `hr_viton` is that of the shipped masks, and nearer to them than the others'.

    No person at hand has a mask, a parse and a pose, so the joints are fitted, and what depends on
    the parse is not judged (benchmarks/agnostic_masks.py).
    """
    benchmark = script("agnostic_masks")
    people = benchmark.find_persons(shared / "samples/viton_hd_densepose")
    person = next(person for person in people if person.name == name)
    overlaps = {
        recipe: benchmark.fit_joints(person, recipe)[2] for recipe in ("hr_viton", "ladi_vton")
    }
    assert overlaps["hr_viton"] > 0.95
    assert overlaps["hr_viton"] > overlaps["ladi_vton"]
