"""Letters of a garment: known answers of the similarity, and what counts."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from leffa.metrics.protocols import PROTOCOLS
from leffa.metrics.score import score_folders
from leffa.metrics.text import TextLine, TextSimilarity, letters, rapidocr_reader, similarity

from .noise import draw

GREY = torch.full((1, 3, 8, 8), 0.5)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("kitten", "sitting", 1 - 3 / 7),
        ("flaw", "lawn", 1 - 2 / 4),
        ("hotels", "hotels", 1),
        ("hotels", "", 0),
        ("", "", 1),
    ],
)
def test_similarity_is_one_less_the_edit_distance_over_the_longer(
    one: str, other: str, expected: float
) -> None:
    assert similarity(one, other) == similarity(other, one) == pytest.approx(expected)


def test_letters_and_digits_count_in_any_case() -> None:
    assert letters(["New York,", "No. 7!"]) == "newyorkno7"


class Reader:
    """Reads what the first pixel's red level stands for."""

    def __init__(self, pages: dict[int, Sequence[TextLine]]) -> None:
        self.pages, self.read = pages, []

    def __call__(self, picture: NDArray[np.uint8]) -> Sequence[TextLine]:
        level = int(picture[0, 0, 0])
        self.read.append(level)
        return self.pages.get(level, ())


def garment(folder: Path, level: int) -> Path:
    path = folder / f"{level}.png"
    Image.new("RGB", (8, 8), (level, 0, 0)).save(path)
    return path


def test_garments_with_few_letters_or_unsure_ones_do_not_count(tmp_path: Path) -> None:
    reader = Reader(
        {
            128: [TextLine("HO", 0.6), TextLine("tels", 0.9)],  # the prediction
            1: [TextLine("Hotels", 0.95)],
            2: [TextLine("NY", 0.99)],
            3: [TextLine("NYNY", 0.5)],
            4: [TextLine("hotel", 0.99), TextLine("smudge", 0.4)],
        }
    )
    metric = TextSimilarity(reader=reader)
    metric.update(GREY.expand(4, -1, -1, -1), [garment(tmp_path, level) for level in (1, 2, 3, 4)])
    found = metric.per_image()
    assert found.isnan().tolist() == [False, True, True, False]
    assert found[[0, 3]].tolist() == pytest.approx([1, 5 / 6])
    assert metric.compute().item() == pytest.approx((1 + 5 / 6) / 2)


def test_a_garment_is_read_once_for_all_persons_that_wear_it(tmp_path: Path) -> None:
    reader = Reader({1: [TextLine("hotels", 1)]})
    metric = TextSimilarity(reader=reader)
    for _ in range(2):
        metric.update(GREY.expand(2, -1, -1, -1), [garment(tmp_path, 1)] * 2)
    assert sorted(reader.read) == [1, 128, 128, 128, 128]
    assert metric.compute().item() == 0


def test_without_the_package_it_is_missing_or_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    rapidocr_reader.cache_clear()
    sides = [draw(tmp_path / side, "1.png") for side in ("pred", "true", "garments")]
    protocol = PROTOCOLS["leffa@2"].only(["psnr", "text_similarity"])
    beside = {"garments": sides[2]}
    scores = score_folders(*sides[:2], protocol, beside=beside)
    assert scores.missing["text_similarity"].endswith("pip install -e '.[ocr]'")
    assert "psnr" in scores.values
    with pytest.raises(ValueError, match="text_similarity: it needs RapidOCR"):
        score_folders(*sides[:2], "leffa@2", beside=beside, metrics=["text_similarity"])


@pytest.mark.parametrize("word", ["HOTELS", "Camera 35"])
def test_rapidocr_reads_a_printed_word(word: str) -> None:
    pytest.importorskip("rapidocr")
    page = Image.new("RGB", (240, 120), "white")
    ImageDraw.Draw(page).text((20, 40), word, fill="black", font=ImageFont.load_default(36))
    lines = rapidocr_reader()(np.asarray(page))
    assert letters(line.text for line in lines) == letters([word])
    assert all(line.confidence > 0.8 for line in lines)
