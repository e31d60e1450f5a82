"""Trusted matches of a person and a garment."""

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from leffa.data.matching import FEWEST, find_matches, not_white

from .prints import GARMENT, HEIGHT, SIZE, WIDTH, bend, printed, worn

pytest.importorskip("cv2", reason="needs opencv-python, which is not installed")


def pixels(matches: NDArray[np.float32]) -> NDArray[Any]:
    return matches * (*SIZE, *SIZE)


def test_finds_where_the_print_went_to_a_pixel() -> None:
    x, y, u, v = pixels(find_matches(worn(printed(0)), printed(0))).T
    off = np.hypot(*np.subtract(bend(x, y), (u, v)))
    assert len(off) > 50
    assert np.median(off) < 0.3 and np.quantile(off, 0.95) < 1
    assert np.ptp(x) > 100 and np.ptp(y) > 150  # all over the print


def test_another_garment_has_no_match() -> None:
    wrong = [find_matches(worn(printed(seed)), printed(seed + 1)) for seed in range(2)]
    assert [len(matches) for matches in wrong] == [0, 0]


@pytest.mark.parametrize("step", [0, 16])
def test_plain_and_striped_cloth_has_no_match(step: int) -> None:
    """Every stripe is like the next, so none can be told."""
    cloth = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    cloth[GARMENT] = 90
    if step:
        cloth[GARMENT][::step, :] = cloth[GARMENT][1::step, :] = 200
    garment = Image.fromarray(cloth)
    assert len(find_matches(worn(garment), garment)) == 0


def test_an_empty_picture_has_no_match() -> None:
    white = Image.new("RGB", SIZE, "white")
    assert find_matches(white, white).shape == (0, 4)


def test_matches_lie_inside_the_masks() -> None:
    garment, left = printed(0), np.zeros((HEIGHT, WIDTH), np.bool_)
    left[:, : WIDTH // 2] = True
    person = worn(garment)
    assert (pixels(find_matches(person, garment))[:, ::2] > WIDTH / 2 + 20).any(axis=0).all()
    of_garment = find_matches(person, garment, left)
    assert len(of_garment) and (of_garment[:, 2] <= 0.5).all()
    of_person = find_matches(person, garment, person_mask=left[::2, ::2])  # at any resolution
    assert len(of_person) and (of_person[:, 0] <= 0.5).all()


def test_few_matches_are_not_trusted() -> None:
    garment, corner = printed(0), np.zeros((HEIGHT, WIDTH), np.bool_)
    corner[100:130, 100:130] = True
    assert len(find_matches(worn(garment), garment, corner)) == 0


def test_matches_are_fractions_whatever_the_resolution() -> None:
    """A picture of another size gives the same places."""
    garment = printed(0)
    person = worn(garment)
    large = person.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC)
    x, y, u, v = pixels(find_matches(large, garment)).T
    assert len(x) > FEWEST
    assert np.median(np.hypot(*np.subtract(bend(x, y), (u, v)))) < 0.3


def test_the_white_parts_of_a_garment_belong_to_it() -> None:
    cloth = np.full((40, 40, 3), 255, np.uint8)
    cloth[10:30, 10:30] = 80
    cloth[15:25, 15:25] = 255
    mask = not_white(Image.fromarray(cloth))
    assert mask.sum() == 400 and mask[20, 20] and not mask[5, 5]


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    usual: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "cv2":
            raise ImportError("No module named 'cv2'")
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install -e '.\[matches\]'"):
        find_matches(printed(0), printed(0))


@pytest.mark.slow
def test_real_pairs_are_covered_and_wrong_ones_are_not(shared: Path) -> None:
    """33 pairs of VITON-HD: 14 have a print, lettering or lace; no wrong pair has a match."""
    root = shared / "samples/viton_hd_pairs/test"
    names = sorted(path.name for path in (root / "image").iterdir())
    people, garments = (
        [Image.open(root / folder / name) for name in names] for folder in ("image", "cloth")
    )
    own = [len(find_matches(*pair)) for pair in zip(people, garments, strict=True)]
    assert len(own) == 33 and sum(map(bool, own)) >= 13 and sum(own) > 1500
    others = zip(people, [*garments[1:], garments[0]], strict=True)
    assert sum(len(find_matches(*pair)) for pair in others) == 0
