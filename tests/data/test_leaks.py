"""Pictures of the training are found in a test set by what they show."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageOps

from leffa.data.leaks import find_again, fingerprint, leaked, same_picture
from leffa.data.published import VitonHD
from leffa.synthetic.write import write_viton_hd

SAVED_ANEW: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda image: image,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "mirrored": ImageOps.mirror,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    write_viton_hd(root, train=6, test=6, height=256, width=192)
    return root


@pytest.mark.parametrize("change", SAVED_ANEW.values(), ids=SAVED_ANEW)
def test_finds_each_picture_that_was_saved_anew(
    root: Path, tmp_path: Path, change: Callable[[Image.Image], Image.Image]
) -> None:
    among = prints(root / "train")
    assert len(among) == 12
    for path, _ in among:
        change(Image.open(path)).save(tmp_path / f"{path.parent.name}_{path.stem}.jpg", quality=70)
    wanted = prints(tmp_path)
    found = {wanted[ours][0].stem: among[theirs][0] for ours, theirs in find_again(wanted, among)}
    assert found == {f"{path.parent.name}_{path.stem}": path for path, _ in among}


def test_finds_nothing_among_other_pictures(root: Path) -> None:
    train, test = prints(root / "train"), prints(root / "test")
    assert [*find_again(test, train)] == []
    assert [*find_again(test, [])] == [*find_again([], train)] == []


def test_the_same_garment_in_another_colour_is_another(root: Path, tmp_path: Path) -> None:
    """Its hash, of grey values, may be the same: the pixels decide."""
    path = sorted((root / "train/cloth").iterdir())[0]
    other = tmp_path / "other.png"
    red, green, blue = Image.open(path).split()
    Image.merge("RGB", (blue, red, green)).save(other)
    assert not same_picture(path, other)
    brighter = tmp_path / "brighter.png"
    ImageEnhance.Brightness(Image.open(path)).enhance(0.8).save(brighter)
    assert not same_picture(path, brighter)


@pytest.mark.parametrize("workers", [0, 2])
def test_names_the_samples_whose_person_or_garment_is_in_the_training(
    root: Path, workers: int
) -> None:
    training, records = [*VitonHD(root)], [*VitonHD(root, split="test")]
    records[3] = replace(records[3], reference=training[5].reference)
    records[4] = replace(records[4], source=training[2].source)
    told: list[tuple[int, int]] = []
    found = leaked(records, training, workers, lambda *done: told.append(done))
    assert found == {
        records[4].name: f"its person is {training[2].source}",
        records[3].name: f"its reference is {training[5].reference}",
    }
    assert told[-1] == (22, 22)


def prints(folder: Path) -> list[tuple[Path, int]]:
    """Of the persons and garments of a split, or of the pictures of any other folder."""
    places = [folder / "image", folder / "cloth"] if (folder / "image").is_dir() else [folder]
    paths = sorted(path for place in places for path in place.iterdir())
    return [(path, fingerprint(Image.open(path))) for path in paths]
