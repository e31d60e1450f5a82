"""The recipes named after demos beside the masks that the demos made, from Python and as files."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from leffa.cli import main
from leffa.data.keypoints import to_body_25
from leffa.data.recipe import Mask, PersonMaps
from leffa.preprocess.agnostic import AGNOSTIC, catvton

SHAPE = (512, 384)
RECORDED = Path(__file__).parents[1] / "data/golden/masks.npz"
CATEGORIES = ("upper_body", "lower_body", "dresses")
LEAST = {"leffa_hd": 0.99, "leffa_dc": 0.999}


class Golden(NamedTuple):
    """A person and the demo's mask, at 512x384 and, where it is recorded, at 1024x768."""

    title: str
    person: PersonMaps
    mask: Mask
    large: Mask | None
    lip: NDArray[np.uint8]


def golden(path: Path, recipe: str) -> Iterator[Golden]:
    with np.load(path) as recorded:
        for key in sorted(recorded):
            kind, category, name = key.split("/")
            if kind != recipe:
                continue
            maps = {one: recorded[f"in/{name}/{one}"] for one in ("atr", "lip", "joints", "dense")}
            large = recorded.get(f"big_{key}", np.zeros(0, np.uint8))
            yield Golden(
                f"{recipe} {category} {name}",
                PersonMaps(maps["atr"], body_25(maps["joints"]), category, "atr", maps["dense"]),
                unpacked(recorded[key], SHAPE),
                unpacked(large, (1024, 768)) if large.size else None,
                maps["lip"],
            )


def body_25(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    seen = (joints > 1).all(axis=1, keepdims=True)
    return to_body_25(np.concatenate([joints, seen], axis=1) * seen.astype(np.float32))


def unpacked(bits: NDArray[np.uint8], shape: tuple[int, int]) -> Mask:
    return np.unpackbits(bits)[: shape[0] * shape[1]].reshape(shape).astype(np.bool_)


def overlap(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def enlarged(person: PersonMaps, times: int) -> PersonMaps:
    assert person.keypoints is not None
    parse = person.parse.repeat(times, 0).repeat(times, 1)
    return replace(person, parse=parse, keypoints=person.keypoints * np.float32([times, times, 1]))


def padded(person: PersonMaps, above: int, left: int, right: int) -> PersonMaps:
    """The same person in a larger picture, with background around."""
    assert person.keypoints is not None
    keypoints = person.keypoints + np.float32([left, above, 0]) * (person.keypoints[:, 2:] > 0)
    return replace(
        person, parse=np.pad(person.parse, ((above, above), (left, right))), keypoints=keypoints
    )


@pytest.mark.parametrize("recipe", LEAST)
def test_makes_the_masks_of_the_demo(recipe: str) -> None:
    overlaps = {
        case.title: overlap(AGNOSTIC[recipe](case.person), case.mask)
        for case in golden(RECORDED, recipe)
    }
    assert len(overlaps) == 9
    assert min(overlaps.values()) > LEAST[recipe], overlaps


@pytest.mark.parametrize("recipe", LEAST)
def test_makes_the_masks_of_the_demo_on_photographs_and_at_twice_the_size(
    shared: Path, recipe: str
) -> None:
    for case in golden(shared / "golden/masks/masks.npz", recipe):
        assert overlap(AGNOSTIC[recipe](case.person), case.mask) > LEAST[recipe], case.title
        if case.large is not None:
            large = AGNOSTIC[recipe](enlarged(case.person, 2))
            assert overlap(large, case.large) > LEAST[recipe], case.title


def test_makes_the_masks_of_catvton() -> None:
    for case in golden(RECORDED, "catvton"):
        lip = replace(case.person, parse=case.lip, label_set="lip")
        assert overlap(catvton(case.person, lip), case.mask) > 0.97, case.title


@pytest.mark.parametrize("recipe", LEAST)
def test_the_command_makes_the_masks_of_the_demo(tmp_path: Path, recipe: str) -> None:
    case = next(golden(RECORDED, recipe))
    person = enlarged(case.person, 2)
    for folder in ("persons", "parse", "keypoints"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (768, 1024)).save(tmp_path / "persons/anna.png")
    Image.fromarray(person.parse).save(tmp_path / "parse/anna.png")
    assert person.keypoints is not None
    people = [{"pose_keypoints_2d": person.keypoints.ravel().tolist()}]
    (tmp_path / "keypoints/anna.json").write_text(json.dumps({"people": people}))
    options = ["--label-set", "atr", "--recipe", recipe, "--category", person.category]
    assert main(["photo", str(tmp_path), *options]) == 0
    mask = np.asarray(Image.open(tmp_path / "masks/anna.png")) == 255
    assert overlap(mask[1::2, 1::2], case.mask) > LEAST[recipe]


@pytest.mark.parametrize("recipe", [*LEAST, "leffa_hd_clean", "leffa_dc_clean"])
def test_brushes_of_a_wide_photo_follow_its_padded_height(recipe: str) -> None:
    """A photo of 1024x512 is treated as one padded to 1024x1365."""
    for case in (one for one in golden(RECORDED, "leffa_hd") if one.title.endswith("shorts_down")):
        wide = padded(case.person, above=0, left=320, right=320)
        mask = AGNOSTIC[recipe](wide)
        assert mask.shape == (512, 1024)
        tall = padded(wide, above=427, left=0, right=0)
        expected = AGNOSTIC[recipe](tall)[427:-427]
        assert overlap(mask, expected) > 0.97, case.title


def test_the_arm_of_a_missing_elbow_is_not_drawn_to_the_corner() -> None:
    for recipe in LEAST:
        for case in golden(RECORDED, recipe):
            if case.person.category == "lower_body":
                continue
            assert case.person.keypoints is not None
            keypoints = case.person.keypoints.copy()
            whole = AGNOSTIC[recipe](case.person)
            keypoints[3] = 0
            mask = AGNOSTIC[recipe](replace(case.person, keypoints=keypoints))
            between = np.linspace((0, 0), case.person.keypoints[4, :2], 20)[1:10].astype(int)
            assert not (mask & ~whole)[between[:, 1], between[:, 0]].any(), case.title


@pytest.mark.parametrize("recipe", ["leffa_hd_clean", "leffa_dc_clean"])
def test_the_clean_recipes_keep_other_garments_whole(recipe: str) -> None:
    for case in golden(RECORDED, recipe.removesuffix("_clean")):
        person = case.person
        mask = AGNOSTIC[recipe](person)
        others = {"upper_body": ("pants", "skirt"), "lower_body": ("upper",), "dresses": ()}
        worn = {"upper_body": "upper", "lower_body": "pants", "dresses": "dress"}[person.category]
        assert not mask[person.shows(*others[person.category])].any(), case.title
        assert mask[person.shows(worn)].all(), case.title


def test_the_rim_of_the_demo_is_not_in_the_clean_recipe() -> None:
    """In `leffa_hd` the trousers of a person who stands clear of the frame are masked with it."""
    case = next(one for one in golden(RECORDED, "leffa_hd") if one.title.endswith("trousers_hips"))
    person = replace(case.person, category="upper_body")
    trousers = person.shows("pants")
    assert AGNOSTIC["leffa_hd"](person)[trousers].mean() > 0.9
    assert not AGNOSTIC["leffa_hd_clean"](person)[trousers].any()
