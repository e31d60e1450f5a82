"""The two label sets joined: the neck, and holes of the garment."""

import numpy as np
import pytest
from PIL import Image

from leffa.data.labels import LabelSet
from leffa.preprocess.parsing.neck import ATRWithNeck, add_neck, fill_garment


def test_what_only_atr_calls_face_is_the_neck() -> None:
    atr, lip = np.array([[11, 11, 4]], np.uint8), np.array([[13, 5, 13]], np.uint8)
    assert add_neck(atr, lip).tolist() == [[11, 18, 4]]


def test_small_holes_of_the_garment_are_filled_and_large_ones_stay() -> None:
    labels = np.zeros((512, 384), np.uint8)
    labels[100:400, 100:300] = 4
    labels[120:130, 120:130] = 0  # 100 pixels
    labels[150:160, 150:160] = 17  # a scarf
    labels[200:250, 200:250] = 0  # 2500 pixels
    filled = fill_garment(labels)
    assert (filled[120:160, 120:160] == 4).all()
    assert (filled[200:250, 200:250] == 0).all()
    assert (filled[:100] == 0).all()


def test_arms_stay_and_what_arm_and_garment_enclose_is_filled() -> None:
    labels = np.zeros((512, 384), np.uint8)
    labels[100:200, 100:200] = 4
    labels[100:120, 200:240] = labels[100:160, 240:260] = labels[140:160, 200:260] = 14
    filled = fill_garment(labels)
    assert (filled[120:140, 200:240] == 4).all()
    assert (filled == 14).sum() == (labels == 14).sum()


def test_joining_needs_both_label_sets() -> None:
    class Fixed:
        label_set: LabelSet = "lip"

        def parse(self, image: Image.Image) -> np.ndarray:
            return np.zeros((4, 4), np.uint8)

    with pytest.raises(ValueError, match="give lip and lip labels"):
        ATRWithNeck(Fixed(), Fixed())
