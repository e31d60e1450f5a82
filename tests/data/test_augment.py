import random

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from leffa.data.augment import Augmentation, Draw, colour_matrix


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))


def test_nothing_changes_unless_it_is_asked_for() -> None:
    assert Augmentation().draw(random.Random(0)) == Draw()


def test_draws_stay_in_their_ranges_and_reach_into_them() -> None:
    augmentation = Augmentation(flip=0.5, scale=0.2, shift=0.1, colour=0.3)
    rng = random.Random(0)
    draws = [augmentation.draw(rng) for _ in range(300)]
    zooms = [draw.zoom for draw in draws]
    shifts = [side for draw in draws for side in draw.shift]
    assert 0.8 <= min(zooms) < 0.82
    assert 1.18 < max(zooms) <= 1.2
    assert -0.1 <= min(shifts) < -0.098
    assert 0.098 < max(shifts) <= 0.1
    assert 110 < sum(draw.mirror for draw in draws) < 190


def test_factors_of_one_keep_the_colours() -> None:
    draw = Draw(colours=colour_matrix(1, 1, 1))
    assert draw.recolour(noise()).tobytes() == noise().tobytes()


def test_saturation_and_brightness_agree_with_pillow() -> None:
    """An independent implementation; its contrast differs on purpose."""
    picture = noise()
    for matrix, expected in (
        (colour_matrix(1, 1, 0.6), ImageEnhance.Color(picture).enhance(0.6)),
        (colour_matrix(0.7, 1, 1), ImageEnhance.Brightness(picture).enhance(0.7)),
    ):
        mine = np.asarray(Draw(colours=matrix).recolour(picture), int)
        assert np.abs(mine - np.asarray(expected, int)).max() <= 1


def test_contrast_turns_about_mid_grey() -> None:
    matrix = colour_matrix(1, 0.5, 1)
    grey = Image.new("RGB", (2, 2), (128, 128, 128))
    assert Draw(colours=matrix).recolour(grey).getpixel((0, 0)) == (128, 128, 128)
    black = Image.new("RGB", (2, 2))
    assert Draw(colours=matrix).recolour(black).getpixel((0, 0)) == (64, 64, 64)


def test_a_colour_changes_alike_in_every_picture() -> None:
    """The garment's red beside white in one picture, and beside black in the other."""
    draw = Augmentation(colour=0.4).draw(random.Random(5))
    on_white, on_black = (Image.new("RGB", (8, 8), (shade,) * 3) for shade in (255, 0))
    for picture in (on_white, on_black):
        picture.putpixel((3, 3), (200, 40, 60))
    changed = draw.recolour(on_white).getpixel((3, 3))
    assert changed == draw.recolour(on_black).getpixel((3, 3))
    assert changed != (200, 40, 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, "flip=1.5: is a probability"),
        ({"scale": 1.0}, "scale=1.0: is the largest change"),
        ({"shift": -0.1}, "shift=-0.1: is the largest change"),
        ({"colour": 2.0}, "colour=2.0: is the largest change"),
        ({"flip": None}, "flip=None: is not a number"),
    ],
)
def test_a_wrong_amount_is_an_error(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
