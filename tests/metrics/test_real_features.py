"""Features of a real set are computed once for the same pictures, protocol and network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from leffa.metrics.distribution import DistributionMetrics
from leffa.metrics.protocols import PROTOCOLS, FIDSettings, KIDSettings, Protocol
from leffa.metrics.result import Scores
from leffa.metrics.score import score_folders
from leffa.metrics.views import View

from .noise import draw

SETS = replace(PROTOCOLS["leffa"], paired={}, sets={"fid": FIDSettings(), "kid": KIDSettings()})


@pytest.fixture
def real(tmp_path: Path) -> Path:
    draw(tmp_path / "real", *(f"{i}.png" for i in range(5)), size=(18, 24))
    draw(tmp_path / "real", "other.png", size=(24, 24))
    return tmp_path / "real"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many real images have gone through the network, run by run."""
    counts: list[int] = []
    update = DistributionMetrics.update

    def counted(self: DistributionMetrics, images: Any, *, real: bool) -> Any:
        counts[-1] += len(images) * real
        return update(self, images, real=real)

    monkeypatch.setattr(DistributionMetrics, "update", counted)
    return counts


@pytest.mark.usefixtures("thumbnails")
def test_features_of_the_same_pictures_are_computed_once(
    folders: tuple[Path, Path], real: Path, tmp_path: Path, computed: list[int]
) -> None:
    def run(protocol: Protocol = SETS, kept: str | None = "kept", **settings: Any) -> Scores:
        computed.append(0)
        place = None if kept is None else tmp_path / kept
        return score_folders(*folders, protocol, real=real, features=place, **settings)

    without, first, again = run(kept=None), run(), run()
    assert computed == [6, 6, 0]
    assert without.values == first.values == again.values
    assert again.images == {"pred": 3, "real": 6}

    touched = real / "0.png"
    Image.open(touched).save(touched)  # the same bytes at another time
    assert run().values == first.values and computed[-1] == 0
    smaller = FIDSettings(view=View(size=(12, 12), filter="bilinear"))
    assert run(replace(SETS, sets={"fid": smaller})).values != first.values and computed[-1] == 6
    draw(real, "0.png", size=(18, 24), seed=9)
    assert run().values != first.values and computed[-1] == 6


@pytest.mark.usefixtures("thumbnails")
def test_a_damaged_file_is_told_and_made_anew(
    folders: tuple[Path, Path],
    real: Path,
    tmp_path: Path,
    computed: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = tmp_path / "kept"
    for number in range(2):
        computed.append(0)
        score_folders(*folders, SETS, real=real, features=place)
        (file,) = place.iterdir()
        if not number:
            file.write_bytes(file.read_bytes()[:100])
    assert computed == [6, 6]
    assert f"{file}: cannot be read" in caplog.text
    computed.append(0)
    (tmp_path / "file").touch()
    score_folders(*folders, SETS, real=real, features=tmp_path / "file")
    assert "features of the real set are not cached" in caplog.text
