"""Shared by the recipes: groups of labels, numbers of joints, and checks of what they need."""

import numpy as np

from leffa.data.recipe import PersonMaps
from leffa.preprocess.agnostic.shapes import Joints

ARM_LABELS = ("left_arm", "right_arm")
LEGS = ("left_leg", "right_leg")
SHOES = ("left_shoe", "right_shoe")
TOP = ("upper", "coat")
ONE_PIECE = ("dress", "jumpsuit")
SKIRT_AND_TROUSERS = ("skirt", "pants")

NECK = 1
SHOULDERS = [2, 5]
# Shoulder, elbow and wrist of an arm, and its parse label; the person's right arm first.
ARMS = (((2, 3, 4), "right_arm"), ((5, 6, 7), "left_arm"))


def joints_of(person: PersonMaps) -> Joints:
    """The keypoints; raises ValueError where there are none."""
    if person.keypoints is None:
        raise ValueError(
            "this mask recipe needs keypoints; give a keypoint file, or choose catvton or a mask "
            "file"
        )
    return person.keypoints


def shoulder_distance(joints: Joints) -> float:
    """In pixels; raises ValueError where a shoulder is missing."""
    if (joints[SHOULDERS, 2] == 0).any():
        raise ValueError(
            "the pose has no shoulders to build a mask from; give a mask file or remove the image"
        )
    right, left = joints[SHOULDERS, :2]
    return float(np.linalg.norm(left - right))


def check_category(person: PersonMaps, *categories: str) -> None:
    """Raise ValueError unless the recipe is published for the person's category."""
    if person.category not in categories:
        raise ValueError(
            f"this mask recipe is for {' and '.join(categories)}, not {person.category}; choose "
            "dress_code, ootdiffusion or catvton, which are for upper_body, lower_body and dresses"
        )
