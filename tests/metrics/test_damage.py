"""Damaged pictures of synthetic persons: the table of docs/reference/metrics.md is true."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leffa.metrics.protocols import PROTOCOLS
from leffa.metrics.result import Scores
from leffa.metrics.text import TextLine, rapidocr_reader

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
DAMAGES = ("blur", "shift", "colour", "wrong garment", "changed letters", "bleeding")
# Metric -> whether higher is better, and a change that deserves notice.
NOTICE = {
    "interior_ssim": (True, 0.02),
    "boundary_ssim": (True, 0.02),
    "interior_ciede2000": (False, 1.0),
    "leakage": (False, 0.1),
    "leakage_share": (False, 0.005),
    "text_similarity": (True, 0.1),
    "match_count": (True, 10.0),
    "match_fidelity": (True, 0.1),
    "match_distance": (False, 1.0),
}
QUICK = ("blur", "wrong garment", "changed letters")  # the others take as long again
HEIGHT, PERSONS = 256, 1
# What needs an extra.
PACKAGES = {name: "cv2" if name.startswith("match_") else "" for name in NOTICE}
PACKAGES |= {"text_similarity": "rapidocr"}

Score = Callable[[str, float], Scores]


def table() -> dict[tuple[str, str], str]:
    """(metric, damage) -> "worse", "same" or "·", as the page has it."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    heads = next(cells(line) for line in lines if line.startswith("| | blur |"))
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        metric, *claims = cells(line)
        found |= {(metric.strip("`"), d): c for d, c in zip(heads[1:], claims, strict=True)}
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Score]:
    """Scores of the persons with a damage of some grade; each is computed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        import fidelity_damage as program

        folder = tmp_path_factory.mktemp("damage")
        scenes = [program.draw_scene(number, HEIGHT) for number in range(PERSONS)]
        program.write_scenes(folder, scenes)

        @cache  # the networks take most of the time
        def read(picture: bytes, *shape: int) -> Sequence[TextLine]:
            return rapidocr_reader()(np.frombuffer(picture, np.uint8).reshape(shape))

        def read_once(picture: NDArray[np.uint8]) -> Sequence[TextLine]:
            return read(picture.tobytes(), *picture.shape)

        patch.setattr("leffa.metrics.text.rapidocr_reader", lambda: read_once)
        computed = [name for name in NOTICE if not PACKAGES[name] or find_spec(PACKAGES[name])]

        @cache
        def scores(damage: str, grade: float) -> Scores:
            return program.score_damage(folder, scenes, damage, grade, computed)

        yield lambda damage, grade: scores(damage if grade else "blur", grade)


def test_the_table_speaks_of_every_metric_and_damage() -> None:
    claims = table()
    of_pictures = PROTOCOLS["leffa@2"].fidelity.keys() - {"garment_attention"}
    assert claims.keys() == {(metric, damage) for metric in of_pictures for damage in DAMAGES}
    assert NOTICE.keys() == of_pictures
    assert set(claims.values()) == {"worse", "same", "·"}


@pytest.mark.parametrize(
    ("metric", "damage"),
    [
        pytest.param(*key, marks=[] if key[1] in QUICK else pytest.mark.slow)
        for key, claim in table().items()
        if claim != "·"
    ],
)
def test_a_damage_shows_in_the_metrics_that_the_table_names(
    metric: str, damage: str, score: Score
) -> None:
    if PACKAGES[metric]:
        pytest.importorskip(PACKAGES[metric])
    higher, notice = NOTICE[metric]
    before, after = (score(damage, grade).values[metric] for grade in (0.0, 1.0))
    worsened = before - after if higher else after - before
    if table()[metric, damage] == "worse":
        assert worsened > notice
    else:
        assert abs(worsened) < notice


@pytest.mark.parametrize("metric", sorted(NOTICE.keys() - {"match_count", "text_similarity"}))
def test_an_undamaged_picture_is_perfect(metric: str, score: Score) -> None:
    if PACKAGES[metric]:
        pytest.importorskip(PACKAGES[metric])
    scores = score("blur", 0.0)
    assert scores.values[metric] == pytest.approx(1.0 if NOTICE[metric][0] else 0.0, abs=1e-6)
    assert scores.coverage[metric] == PERSONS
