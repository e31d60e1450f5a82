"""The recipes for all categories, on synthetic data."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from leffa.data.recipe import PersonMaps
from leffa.preprocess.agnostic import AGNOSTIC, catvton
from leffa.synthetic.render import TryOnDrawing, draw_tryon

HEIGHT, WIDTH, PERSONS = 256, 192, 4
CATEGORIES = ("upper_body", "lower_body", "dresses")
UPPER_ONLY = ("hr_viton", "ladi_vton", "viton", "viton_hd")
BY_ATR = (
    "dress_code",
    "ladi_dress_code",
    "leffa_dc",
    "leffa_dc_clean",
    "leffa_hd",
    "leffa_hd_clean",
    "ootdiffusion",
    "ootdiffusion_dc",
)
GARMENT = {"upper_body": ("upper",), "lower_body": ("pants", "skirt"), "dresses": ("dress",)}
# Intersection over union with the synthetic mask, mean of the persons, rounded down. That mask
# follows the body; each recipe has its own idea of how far the garment may reach. `leffa_hd` takes
# other garments as well: test_demo_masks.py.
OVERLAP = {
    "upper_body": {
        **{"viton_hd": 0.78, "hr_viton": 0.77, "ladi_vton": 0.78, "viton": 0.82, "catvton": 0.8},
        **{"dress_code": 0.79, "ladi_dress_code": 0.75, "leffa_dc": 0.78, "leffa_hd_clean": 0.76},
        **{"ootdiffusion": 0.78, "ootdiffusion_dc": 0.74, "leffa_dc_clean": 0.78},
    },
    "lower_body": {
        **{"ootdiffusion": 0.67, "ootdiffusion_dc": 0.67, "catvton": 0.68},
        **{"leffa_hd_clean": 0.79, "leffa_dc_clean": 0.7},
        # As published, skirts are left out.
        **{"dress_code": 0.4, "ladi_dress_code": 0.2, "leffa_dc": 0.4},
    },
    "dresses": {
        **{"dress_code": 0.69, "ladi_dress_code": 0.75, "leffa_dc": 0.68, "catvton": 0.82},
        **{"leffa_dc_clean": 0.68},
        # Only the dress and the arms: bare legs are left out.
        **{"ootdiffusion": 0.52, "ootdiffusion_dc": 0.54, "leffa_hd_clean": 0.55},
    },
}
PAIRS = [(category, name) for category in CATEGORIES for name in sorted(OVERLAP[category])]


@cache
def synthetic_samples(category: str) -> tuple[TryOnDrawing, ...]:
    return tuple(draw_tryon(0, index, HEIGHT, WIDTH, category) for index in range(PERSONS))


def person_of(drawing: TryOnDrawing, name: str) -> PersonMaps:
    """As the recipe is published: by ATR labels or by CIHP labels."""
    person, atr = drawing.person, name in BY_ATR
    return PersonMaps(
        person.parsing_atr if atr else person.parsing,
        person.keypoints,
        drawing.category,
        "atr" if atr else "cihp",
        person.iuv[..., 0],
    )


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


@cache
def masked(category: str, name: str) -> list[tuple[TryOnDrawing, PersonMaps, NDArray[np.bool_]]]:
    """The synthetic samples, each as the recipe reads it, with its mask."""
    persons = [(drawing, person_of(drawing, name)) for drawing in synthetic_samples(category)]
    return [(drawing, person, AGNOSTIC[name](person)) for drawing, person in persons]


@pytest.mark.parametrize(("category", "name"), PAIRS)
def test_agrees_with_the_synthetic_mask_as_far_as_the_recipe_can(category: str, name: str) -> None:
    overlaps = [overlap(mask, drawing.agnostic_mask) for drawing, _, mask in masked(category, name)]
    assert np.mean(overlaps) > OVERLAP[category][name]


@pytest.mark.parametrize(("category", "name"), PAIRS)
def test_covers_the_garment_and_keeps_the_face(category: str, name: str) -> None:
    for drawing, person, mask in masked(category, name):
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask.dtype == np.bool_
        garment = person.shows(*GARMENT[category])
        skirts_are_left_out = name in ("dress_code", "ladi_dress_code", "leffa_dc")
        if not (category == "lower_body" and skirts_are_left_out and person.shows("skirt").any()):
            assert mask[garment].mean() > 0.99
        face = drawing.person.parsing == 13
        assert mask[face].mean() < 0.03 if face.any() else True


@pytest.mark.parametrize(("category", "name"), PAIRS)
def test_keeps_other_garments_and_shoes(category: str, name: str) -> None:
    kept = {"upper_body": ("pants", "skirt"), "lower_body": ("upper",), "dresses": ()}[category]
    for _, person, mask in masked(category, name):
        others = person.shows(*kept, "left_shoe", "right_shoe")
        # CatVTON grows its masks last of all, and Leffa's demo enlarges them.
        allowed = {"catvton": 0.12, "leffa_dc": 0.01}.get(name, 0.001)
        if others.sum() > 400:
            assert mask[others].mean() <= allowed


@pytest.mark.parametrize("name", UPPER_ONLY)
@pytest.mark.parametrize("category", ["lower_body", "dresses"])
def test_a_recipe_for_upper_garments_refuses_others(name: str, category: str) -> None:
    person = replace(person_of(synthetic_samples("upper_body")[0], name), category=category)
    with pytest.raises(ValueError, match=rf"for upper_body, not {category}; choose dress_code"):
        AGNOSTIC[name](person)


@pytest.mark.parametrize("name", sorted(AGNOSTIC))
def test_what_a_recipe_needs_is_asked_for(name: str) -> None:
    person = person_of(synthetic_samples("upper_body")[0], name)
    bodiless, jointless = replace(person, densepose=None), replace(person, keypoints=None)
    if name == "catvton":
        lacking, enough, word = bodiless, jointless, "DensePose"
    else:
        lacking, enough, word = jointless, bodiless, "keypoints"
    with pytest.raises(ValueError, match=f"this mask recipe needs {word}"):
        AGNOSTIC[name](lacking)
    assert AGNOSTIC[name](enough).any()


@pytest.mark.parametrize("name", BY_ATR)
def test_lower_garments_need_no_keypoints(name: str) -> None:
    person = person_of(synthetic_samples("lower_body")[0], name)
    assert (AGNOSTIC[name](replace(person, keypoints=None)) == AGNOSTIC[name](person)).all()


@pytest.mark.parametrize(("category", "name"), PAIRS)
def test_gives_the_same_shape_at_any_resolution(category: str, name: str) -> None:
    drawing, person, mask = masked(category, name)[1]
    keypoints = drawing.person.keypoints * np.float32((3, 3, 1))
    large = PersonMaps(
        person.parse.repeat(3, 0).repeat(3, 1),
        keypoints,
        category,
        person.label_set,
        drawing.person.iuv[..., 0].repeat(3, 0).repeat(3, 1),
    )
    assert overlap(AGNOSTIC[name](large)[1::3, 1::3], mask) > 0.9


@pytest.mark.parametrize("name", ["ootdiffusion", "leffa_hd", "catvton", "leffa_dc"])
def test_leaves_no_holes_inside(name: str) -> None:
    """A belt of other labels across the garment must not stay as a stripe of the old picture."""
    drawing = synthetic_samples("upper_body")[0]
    person = person_of(drawing, name)
    garment = person.shows("upper")
    rows, columns = np.nonzero(garment)
    parse = person.parse.copy()
    spot = (
        slice(int(rows.mean()) - 2, int(rows.mean()) + 2),
        slice(int(columns.mean()) - 2, int(columns.mean()) + 2),
    )
    parse[spot] = 0
    assert AGNOSTIC[name](replace(person, parse=parse))[spot].all()


def test_ootdiffusion_takes_an_arm_by_its_label_where_the_wrist_is_missing() -> None:
    person = person_of(synthetic_samples("upper_body")[0], "ootdiffusion")
    assert person.keypoints is not None
    keypoints = person.keypoints.copy()
    keypoints[[4, 7]] = 0
    mask = AGNOSTIC["ootdiffusion"](replace(person, keypoints=keypoints))
    arms = person.shows("left_arm", "right_arm")
    assert mask[arms].mean() > 0.99


def test_dress_code_takes_the_neck_that_atr_calls_face() -> None:
    drawing = synthetic_samples("upper_body")[0]
    neck = drawing.person.parsing == 10
    assert neck.any()
    person = person_of(drawing, "dress_code")
    assert person.shows("face")[neck].all()
    assert AGNOSTIC["dress_code"](person)[neck].mean() > 0.5
    assert AGNOSTIC["ootdiffusion"](person)[neck].mean() < 0.2


def test_catvton_joins_two_parses() -> None:
    """What ATR alone takes for face, the neck, is freed by a second parse that tells them apart."""
    drawing = synthetic_samples("upper_body")[0]
    by_atr = person_of(drawing, "dress_code")
    by_cihp = person_of(drawing, "catvton")
    neck = drawing.person.parsing == 10
    alone, joined = catvton(by_atr), catvton(by_atr, by_cihp)
    assert alone[neck].mean() < joined[neck].mean()
    assert joined[drawing.person.parsing == 13].mean() < 0.03
