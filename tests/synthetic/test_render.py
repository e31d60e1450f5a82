"""Synthetic samples: labels agree with the picture, and the ground-truth flow is true."""

from functools import cache

import numpy as np
import pytest

from leffa.data.labels import CATEGORIES, Category
from leffa.synthetic.body import SIGN
from leffa.synthetic.labels import BODY_25, Parsing
from leffa.synthetic.render import PoseSet, draw_pose_set, draw_tryon

from .drawings import COUNT, HEIGHT, WIDTH, psnr, tryon, warp


@cache
def pose_pair(index: int) -> PoseSet:
    return draw_pose_set(3, index, HEIGHT, WIDTH, poses=2)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_same_seed_and_index_draw_the_same_sample(category: Category) -> None:
    first, again = (draw_tryon(5, 2, 64, 48, category) for _ in range(2))
    assert np.array_equal(first.person.image, again.person.image)
    assert np.array_equal(first.garment, again.garment)
    assert np.array_equal(first.flow, again.flow)
    assert np.array_equal(first.agnostic_mask, again.agnostic_mask)


def test_another_seed_or_index_draws_another_sample() -> None:
    first = draw_tryon(5, 2, 64, 48).person.image
    assert not np.array_equal(first, draw_tryon(6, 2, 64, 48).person.image)
    assert not np.array_equal(first, draw_tryon(5, 3, 64, 48).person.image)


def test_the_size_changes_the_resolution_and_not_the_scene() -> None:
    small, large = draw_tryon(0, 4, 64, 48), draw_tryon(0, 4, 128, 96)
    pooled = large.person.image.reshape(64, 2, 48, 2, 3).mean(axis=(1, 3))
    assert psnr(pooled, small.person.image.astype(float)) > 26


def test_warping_the_garment_by_the_ground_truth_flow_reproduces_it_on_the_person() -> None:
    scores = []
    for index in range(COUNT):
        drawing = draw_tryon(1, index, 256, 192, CATEGORIES[index % 3])
        warped, seen = warp(drawing.garment, drawing.flow), drawing.flow_valid
        scores.append(psnr(warped[seen], drawing.person.image[seen].astype(float)))
    assert np.mean(scores) >= 28
    assert min(scores) >= 26


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_ground_truth_flow_stays_inside_the_garment_mask(category: Category) -> None:
    for index in range(COUNT):
        drawing = tryon(index, category)
        inside = warp(drawing.garment_mask[..., None], drawing.flow)[..., 0]
        assert drawing.flow_valid.sum() > 100
        assert np.all(inside[drawing.flow_valid] > 0.95)


@pytest.mark.parametrize("category", CATEGORIES)
def test_flow_is_valid_only_where_the_garment_is_seen(category: Category) -> None:
    labels = {
        "upper_body": [Parsing.UPPER_CLOTHES],
        "lower_body": [Parsing.PANTS, Parsing.SKIRT],
        "dresses": [Parsing.DRESS],
    }[category]
    for index in range(COUNT):
        drawing = tryon(index, category)
        garment = np.isin(drawing.person.parsing, labels)
        assert np.all(garment[drawing.flow_valid])
        assert drawing.flow_valid.sum() > 0.6 * garment.sum()


def test_an_arm_in_front_of_the_garment_is_not_valid() -> None:
    hidden = 0
    for index in range(COUNT):
        drawing = tryon(index)
        arms = np.isin(drawing.person.parsing, [Parsing.LEFT_ARM, Parsing.RIGHT_ARM])
        hidden += int((arms & (drawing.person.iuv[..., 0] > 0)).sum())
        assert not np.any(drawing.flow_valid & arms)
    assert hidden > 0


def test_the_ground_truth_flow_is_no_similarity() -> None:
    """A rotated and scaled copy would be matched by one affine map; garments bend."""
    residuals = []
    for index in range(COUNT):
        drawing = tryon(index)
        y, x = np.nonzero(drawing.flow_valid)
        design = np.stack([x, y, np.ones_like(x)], axis=1).astype(float)
        target = drawing.flow[drawing.flow_valid] * [WIDTH / 2, HEIGHT / 2]
        fit, *_ = np.linalg.lstsq(design, target, rcond=None)
        residuals.append(np.abs(design @ fit - target).mean())
    assert np.mean(residuals) > 0.5  # pixels


def test_warping_the_reference_by_the_ground_truth_flow_reproduces_the_source() -> None:
    scores = []
    for index in range(COUNT):
        source, reference = pose_pair(index).drawings
        flow, seen = pose_pair(index).flow(source=0, reference=1)
        assert seen.sum() > 0.25 * (source.parsing > 0).sum()
        warped = warp(reference.image, flow)
        scores.append(psnr(warped[seen], source.image[seen].astype(float)))
    assert np.mean(scores) >= 24


def test_pose_flow_leads_to_the_same_label_of_the_other_picture() -> None:
    for index in range(COUNT):
        source, reference = pose_pair(index).drawings
        flow, seen = pose_pair(index).flow(source=0, reference=1)
        x, y = np.round((flow[seen] + 1) / 2 * [WIDTH - 1, HEIGHT - 1]).astype(int).T
        assert np.array_equal(reference.parsing[y, x], source.parsing[seen])


def test_pose_flow_from_a_picture_to_itself_is_the_identity() -> None:
    flow, seen = draw_pose_set(2, 1, HEIGHT, WIDTH, poses=1).flow(source=0, reference=0)
    y, x = np.nonzero(seen)
    xy = (flow[seen] + 1) / 2 * [WIDTH - 1, HEIGHT - 1]
    assert len(x) > 1000
    assert np.abs(xy - np.stack([x, y], axis=1)).max() < 0.1


def test_a_pose_set_shows_one_person_in_different_poses() -> None:
    people = draw_pose_set(0, 0, HEIGHT, WIDTH, poses=3)
    assert len(people.drawings) == 3
    assert not np.array_equal(people.drawings[0].iuv, people.drawings[1].iuv)
    assert set(np.unique(people.drawings[0].parsing)) == set(np.unique(people.drawings[1].parsing))


@pytest.mark.parametrize("category", CATEGORIES)
def test_labels_stay_in_their_ranges(category: Category) -> None:
    drawing = tryon(0, category)
    person = drawing.person
    assert person.image.dtype == person.iuv.dtype == person.parsing.dtype == np.uint8
    assert person.iuv[..., 0].max() <= 24
    assert np.all(person.iuv[person.iuv[..., 0] == 0] == 0)
    assert set(np.unique(person.parsing)) <= {label.value for label in Parsing}
    assert np.abs(drawing.flow).max() <= 1.5
    assert drawing.flow.dtype == np.float32
    assert person.keypoints.shape == (25, 3)
    assert person.keypoints_coco18.shape == (18, 3)


def test_the_other_label_sets_say_the_same() -> None:
    person = tryon(1, "dresses").person
    assert np.all(person.parsing_atr[person.parsing == Parsing.DRESS] == 7)
    assert np.all(person.parsing_atr[person.parsing == Parsing.LEFT_LEG] == 12)
    assert np.array_equal(person.keypoints_coco18[8:], person.keypoints[9:19])


def test_the_body_map_lies_under_the_clothes() -> None:
    for index in range(COUNT):
        person = tryon(index).person
        skin = [Parsing.FACE, Parsing.LEFT_ARM, Parsing.RIGHT_ARM, Parsing.NECK]
        assert np.all(person.iuv[..., 0][np.isin(person.parsing, skin)] > 0)
        cloth = person.parsing == Parsing.UPPER_CLOTHES
        # The garment is a little wider than the body, and hides some of it.
        assert 0.8 < (person.iuv[..., 0][cloth] > 0).mean() <= 1


def test_body_coordinates_change_smoothly() -> None:
    iuv = tryon(0).person.iuv.astype(int)
    same = iuv[:, 1:, 0] == iuv[:, :-1, 0]
    torso = same & (iuv[:, 1:, 0] == 2)
    step = np.abs(np.diff(iuv[..., 1:], axis=1))[torso]
    assert np.median(step) <= 5
    assert np.percentile(step, 99) <= 20


def test_keypoints_in_sight_lie_on_their_parts() -> None:
    parts = {
        "elbow": {"right": {16, 18, 20, 22}, "left": {15, 17, 19, 21}},
        "wrist": {"right": {3, 20, 22}, "left": {4, 19, 21}},
        "knee": {"right": {7, 9, 11, 13}, "left": {8, 10, 12, 14}},
        "ankle": {"right": {6, 11, 13}, "left": {5, 12, 14}},
    }
    found = 0
    for index in range(COUNT):
        person = pose_pair(index).drawings[0]
        for row, name in enumerate(BODY_25):
            side, _, joint = name.partition("_")
            x, y, confidence = person.keypoints[row]
            if joint in parts and confidence > 0.8:
                assert person.iuv[round(float(y)), round(float(x)), 0] in parts[joint][side], name
                found += 1
    assert found > 5 * COUNT


def test_keypoints_out_of_the_picture_are_zero() -> None:
    keypoints = tryon(0).person.keypoints
    ankle = keypoints[BODY_25.index("right_ankle")]
    assert np.array_equal(ankle, np.zeros(3))
    inside = keypoints[keypoints[:, 2] > 0]
    assert np.all((inside[:, 0] > -0.5) & (inside[:, 0] < WIDTH - 0.5))
    assert np.all((inside[:, 1] > -0.5) & (inside[:, 1] < HEIGHT - 0.5))


def test_left_and_right_are_the_persons() -> None:
    for index in range(COUNT):
        keypoints = pose_pair(index).drawings[0].keypoints
        right, left = (keypoints[BODY_25.index(f"{side}_shoulder"), 0] for side in SIGN)
        assert right < left
        parsing = tryon(index, "dresses").person.parsing
        shoes = [
            np.nonzero(parsing == label)[1] for label in (Parsing.RIGHT_SHOE, Parsing.LEFT_SHOE)
        ]
        if min(map(len, shoes)) > 10 and index % 2 == 0:
            assert shoes[0].mean() < shoes[1].mean() + 8  # legs may cross, a little


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_agnostic_mask_covers_the_garment_and_no_face(category: Category) -> None:
    for index in range(COUNT):
        drawing = tryon(index, category)
        parsing, mask = drawing.person.parsing, drawing.agnostic_mask
        assert np.all(mask[drawing.flow_valid])
        kept = [Parsing.FACE, Parsing.HAIR, Parsing.LEFT_SHOE, Parsing.RIGHT_SHOE]
        kept += {
            "upper_body": [Parsing.PANTS, Parsing.SKIRT],
            "lower_body": [Parsing.UPPER_CLOTHES],
            "dresses": [],
        }[category]
        assert not np.any(mask[np.isin(parsing, kept)])
        hands = np.isin(drawing.person.iuv[..., 0], [3, 4]) & np.isin(
            parsing, [Parsing.LEFT_ARM, Parsing.RIGHT_ARM]
        )
        assert mask[hands].mean() < 0.2 if hands.any() else True
        assert np.all(drawing.agnostic[mask] == 128)
        assert np.array_equal(drawing.agnostic[~mask], drawing.person.image[~mask])


def test_the_agnostic_mask_is_wider_than_the_garment() -> None:
    for index in range(COUNT):
        drawing = tryon(index)
        garment = drawing.person.parsing == Parsing.UPPER_CLOTHES
        assert drawing.agnostic_mask.sum() > 1.15 * garment.sum()


def test_the_flat_garment_lies_on_white_and_in_the_frame() -> None:
    for index in range(COUNT):
        for category in CATEGORIES:
            drawing = tryon(index, category)
            assert np.all(drawing.garment[0] >= 250)
            assert np.all(drawing.garment[:, 0] >= 250)
            border = np.concatenate(
                [drawing.garment_mask[[0, -1]].ravel(), drawing.garment_mask[:, [0, -1]].ravel()]
            )
            assert not border.any()
            assert 0.08 < drawing.garment_mask.mean() < 0.8


def test_garments_vary_slowly_in_colour_and_most_carry_detail() -> None:
    spreads = []
    for index in range(COUNT):
        drawing = tryon(index)
        colours = drawing.garment[drawing.garment_mask].astype(float)
        spreads.append(colours.std(axis=0).max())
    assert min(spreads) > 8
    assert np.mean(spreads) > 25


@pytest.mark.parametrize("size", [(40, 30), (96, 96), (100, 150)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    for category in CATEGORIES:
        drawing = draw_tryon(0, 0, *size, category)
        assert drawing.person.image.shape == drawing.garment.shape == (*size, 3)
        assert drawing.flow.shape == (*size, 2)
    assert draw_pose_set(0, 0, *size, poses=2).flow(0, 1)[1].any()


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown category 'hats'; choose one of upper_body"):
        draw_tryon(0, 0, 64, 48, "hats")  # type: ignore[arg-type]
