"""Stored matches on their way from the file to the batch."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leffa.data.batch import Record
from leffa.data.dataset import collate, reconstruction
from leffa.data.folder import FolderPairs
from leffa.data.matches import format_matches, require_matches
from leffa.data.transforms import PersonTransform
from leffa.io.atomic import write_text

PERSON, GARMENT = (120, 160), (96, 96)  # (width, height)
AT = (40.5, 60.5, 70.5, 30.5)  # x, y on the person, on the garment: centres of pixels
SIZE = 64, 48


def fractions(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4) / (*PERSON, *GARMENT)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A pair with one bright spot in each picture, and a match of the two."""
    for folder, size, (x, y) in (
        ("persons", PERSON, AT[:2]),
        ("garments", GARMENT, AT[2:]),
    ):
        (tmp_path / folder).mkdir()
        down, across = np.mgrid[: size[1], : size[0]] + 0.5
        spot = np.exp(-((across - x) ** 2 + (down - y) ** 2) / 30) * 255
        image = Image.fromarray(spot.round().astype(np.uint8)).convert("RGB")
        image.save(tmp_path / folder / "anna.png")
    (tmp_path / "masks").mkdir()
    mask = Image.new("L", PERSON)
    mask.paste(255, (20, 30, 100, 130))
    mask.save(tmp_path / "masks/anna.png")
    return store(tmp_path, fractions(AT))


def store(root: Path, matches: NDArray[np.float32]) -> Record:
    (record,) = FolderPairs(root, None)
    text = format_matches(record, (PERSON, GARMENT), "test@1", matches)
    write_text(root / "matches/anna__anna.json", text)
    return FolderPairs(root, None)[0]


def brightest(picture: Tensor) -> list[float]:
    """The middle of the spot in a picture (3, H, W), (x, y) in [-1, 1], corner-aligned."""
    light = (picture[0] + 1).clamp_min(0.4) - 0.4
    light = light * (picture[0] < 0.999)  # white is padding
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in light.shape), indexing="ij")
    return [float((axis * light).sum() / light.sum()) for axis in (x, y)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fit": "pad"},
        {"flip": 1.0},
        {"fit": "pad", "flip": 1.0},
        {"scale": 0.2, "shift": 0.1},
        {"scale": 0.2, "shift": 0.1, "moves": "both", "flip": 1.0},
    ],
)
def test_matches_move_with_the_pictures(options: dict[str, object], record: Record) -> None:
    transform = PersonTransform(*SIZE, densepose="none", image_filter="bilinear", **options)  # type: ignore[arg-type]
    sample = transform(record, random.Random(3))
    ((x, y, u, v),) = sample["matches"].tolist()
    pixel = 2 / 48
    assert (x, y) == pytest.approx(brightest(sample["source"]), abs=0.15 * pixel)
    assert (u, v) == pytest.approx(brightest(sample["reference"]), abs=0.15 * pixel)


def test_only_matches_on_the_canvas_and_in_the_mask_count(record: Record) -> None:
    root, beside = record.source.parents[1], (5.5, 5.5, 70.5, 30.5)
    two = store(root, fractions(AT, beside))
    transform = PersonTransform(*SIZE, densepose="none")
    assert len(transform(two, random.Random(0))["matches"]) == 1
    moved = replace(transform, shift=0.5, moves="both")
    counts = {len(moved(two, random.Random(seed))["matches"]) for seed in range(30)}
    assert counts == {0, 1}  # 0 where a spot moved off the canvas
    everywhere = replace(transform, task="pose", loss_region="all")
    assert len(everywhere(two, random.Random(0))["matches"]) == 2


def test_a_batch_is_filled_up_with_nan(record: Record) -> None:
    root = record.source.parents[1]
    transform = PersonTransform(*SIZE, densepose="none")
    samples = [
        transform(store(root, fractions(*[AT] * count)), random.Random(0)) for count in (0, 3, 1)
    ]
    matches = collate(samples)["matches"]
    assert matches.shape == (3, 3, 4)
    assert matches.isfinite().all(dim=2).sum(dim=1).tolist() == [0, 3, 1]
    assert collate(samples[:1])["matches"].shape == (1, 0, 4)
    del samples[1]["matches"]
    assert "matches" not in collate(samples)


def test_a_reconstruction_has_no_matches(record: Record) -> None:
    assert reconstruction(record).matches is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no matches; delete it and run leffa prepare matches ROOT again"),
        ("[]", "holds no matches"),
        ('{"matches": []}', "holds no matches"),
    ],
)
def test_a_damaged_file_is_one_line(text: str, message: str, record: Record) -> None:
    assert record.matches is not None
    record.matches.write_text(text)
    with pytest.raises(ValueError, match=message) as told:
        PersonTransform(*SIZE, densepose="none")(record, random.Random(0))
    assert str(told.value).startswith(str(record.matches)) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "person",
            {"file": "anna.png", "size": [60, 80]},
            "person anna.png of 60x80, which has 120x160",
        ),
        (
            "garment",
            {"file": "eve.png", "size": list(GARMENT)},
            "garment eve.png, not for anna.png; delete it and run leffa prepare matches",
        ),
        ("matches", [[0.1, 0.2, math.nan, 0.4]], "holds no matches"),
        ("matches", [[0.1, 0.2, 1.4, 0.4]], "holds no matches"),
    ],
)
def test_matches_of_other_pictures_are_refused(
    key: str, value: object, message: str, record: Record
) -> None:
    assert record.matches is not None
    content = json.loads(record.matches.read_bytes())
    record.matches.write_text(json.dumps(content | {key: value}))
    with pytest.raises(ValueError, match=message):
        PersonTransform(*SIZE, densepose="none")(record, random.Random(0))


def test_pairs_without_a_file_are_counted_and_the_remedy_named(record: Record) -> None:
    require_matches([record], "x")
    lacking = replace(record, matches=None, name="eve")
    with pytest.raises(
        ValueError, match=r"^x: 1 of 2 pairs have no file .* first eve; leffa prepare matches ROOT"
    ):
        require_matches([record, lacking], "x")


def test_every_file_is_opened_where_matches_are_needed(record: Record) -> None:
    """A training does not come to a damaged one after hours."""
    assert record.matches is not None
    require_matches([record], "x", some=True)
    other = replace(record, matches=record.matches.with_name("eve.json"))
    other.matches.write_text("{")  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"eve\.json: holds no matches"):
        require_matches([record, other], "x")
    content = json.loads(record.matches.read_bytes())
    other.matches.write_text(json.dumps(content | {"matches": []}))  # type: ignore[union-attr]
    require_matches([other], "x")
    with pytest.raises(ValueError, match=r"^x: none of the 1 pairs has a trusted match"):
        require_matches([other], "x", some=True)
    with pytest.raises(ValueError, match=r"was made for the garment anna\.png, not for eve\.png"):
        require_matches([replace(record, reference=record.reference.with_name("eve.png"))], "x")
