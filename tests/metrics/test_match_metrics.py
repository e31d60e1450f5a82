"""Trusted matches of garment and generated person, counted and compared with the real person."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leffa.metrics import matches
from leffa.metrics.matches import MatchCount, MatchFidelity
from leffa.metrics.protocols import PROTOCOLS
from leffa.metrics.score import score_folders

from .noise import draw

pytest.importorskip("cv2")

HEIGHT, WIDTH = 64, 48
# Garment points as fractions; the real person shows them at half their place.
POINTS = [(0.1 * n, 0.05 * n) for n in range(12)]


def found(count: int, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Matches of the first garment points, moved on the person by so many pixels."""
    rows = [(u / 2 + right / WIDTH, v / 2 + down / HEIGHT, u, v) for u, v in POINTS[:count]]
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.fixture
def persons(monkeypatch: pytest.MonkeyPatch) -> dict[int, np.ndarray]:
    """What is matched on a person of this grey level."""
    known: dict[int, np.ndarray] = {}

    def find(person: Image.Image, garment: Image.Image) -> np.ndarray:
        return known[np.asarray(person)[0, 0, 0]]

    monkeypatch.setattr(matches, "find_matches", find)
    return known


@pytest.fixture
def garments(tmp_path: Path) -> list[Path]:
    return [draw(tmp_path / "garments", "1.png") / "1.png"]


def grey(*levels: int) -> Tensor:
    values = torch.tensor(levels).view(-1, 1, 1, 1) / 255
    return values.expand(-1, 3, HEIGHT, WIDTH)


def values(metric: MatchCount, pairs: Sequence[tuple[int, int]], garment: Path) -> list[float]:
    pred, true = (grey(*side) for side in zip(*pairs, strict=True))
    files = [garment] * len(pairs)
    if isinstance(metric, MatchFidelity):
        metric.update(pred, true, files)
    else:
        metric.update(pred, files)  # type: ignore[call-arg, arg-type]
    return metric.per_image().tolist()


def test_matches_are_counted_and_set_against_those_of_the_real_person(
    persons: dict[int, np.ndarray], garments: list[Path]
) -> None:
    persons |= {10: found(12), 20: found(6), 30: found(0)}
    pairs = [(20, 10), (30, 10), (10, 10), (20, 30)]
    assert values(MatchCount(), pairs, garments[0]) == [6, 0, 12, 6]
    share = MatchFidelity()
    assert values(share, pairs, garments[0])[:3] == [0.5, 0, 1]
    assert share.per_image().isnan().tolist() == [False, False, False, True]  # plain cloth
    assert share.compute().item() == pytest.approx(0.5)


def test_the_distance_is_in_pixels_between_the_same_points_of_the_garment(
    persons: dict[int, np.ndarray], garments: list[Path]
) -> None:
    persons |= {10: found(12), 20: found(8, right=3, down=4), 30: found(3)}
    distance = MatchFidelity("distance")
    near = values(distance, [(10, 10), (20, 10), (30, 10)], garments[0])
    assert near[:2] == pytest.approx([0, 5], abs=1e-4)
    assert np.isnan(near[2])  # three points are too few
    assert distance.compute().item() == pytest.approx(2.5, abs=1e-4)


def test_a_picture_is_matched_once_for_all_metrics(
    persons: dict[int, np.ndarray], garments: list[Path]
) -> None:
    persons |= {10: found(12), 20: found(6)}
    values(MatchFidelity(), [(20, 10)], garments[0])
    persons.clear()
    for metric in (MatchCount(), MatchFidelity("distance")):
        values(metric, [(20, 10)], garments[0])


def test_a_wrong_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="measure='angle': choose share or distance"):
        MatchFidelity("angle")  # type: ignore[arg-type]


def test_plain_cloth_is_excluded_with_the_reason(tmp_path: Path) -> None:
    for side in ("pred", "true", "garments"):
        (tmp_path / side).mkdir()
        Image.new("RGB", (WIDTH, HEIGHT), "navy").save(tmp_path / side / "1.png")
    chosen = PROTOCOLS["leffa@2"].only(["match_fidelity", "match_count"])
    beside = {"garments": tmp_path / "garments"}
    scores = score_folders(tmp_path / "pred", tmp_path / "true", chosen, beside=beside)
    assert scores.values == {"match_count": 0}
    assert "it applies to none of these images" in scores.missing["match_fidelity"]
    assert "match_fidelity: 1 sample excluded, with no trusted" in scores.to_markdown()
