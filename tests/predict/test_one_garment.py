"""A garment that many persons try on is looked at once, and each picture is its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.models import leffa

STEPS = 2


def predict(run: Path, table: Path, out: Path) -> None:
    usual = ["--ckpt", str(run), "--device", "cpu", "--steps", str(STEPS), "--guidance", "2.5"]
    assert main(["predict", *usual, "--table", str(table), "--out", str(out)]) == 0


def write_table(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["name,person,garment,mask,densepose", *rows]) + "\n")
    return path


@pytest.mark.slow
def test_three_persons_in_one_garment_get_the_pictures_of_three_runs(
    run: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = leffa.reference_features

    def counted(unet: Any, latent: Any, timesteps: Any) -> Any:
        calls.append(len(latent))
        return original(unet, latent, timesteps)

    monkeypatch.setattr(leffa, "reference_features", counted)
    test = synthetic / "test"
    garment = sorted((test / "cloth").iterdir())[0]
    stems = sorted(path.stem for path in (test / "image").iterdir())
    rows = [
        f"{stem},{test}/image/{stem}.jpg,{garment},{test}/agnostic-mask/{stem}_mask.png,"
        f"{test}/image-iuv/{stem}.png"
        for stem in stems
    ]
    assert len(rows) == 3
    predict(run, write_table(tmp_path / "all.csv", rows), tmp_path / "together")
    assert calls == [1, 1] * STEPS  # the garment and the empty reference, for the first person
    for stem, row in zip(stems, rows, strict=True):
        predict(run, write_table(tmp_path / f"{stem}.csv", [row]), tmp_path / "alone")
    assert len(calls) == 2 * STEPS + 3 * STEPS  # alone, both go through together
    for stem in stems:
        pictures = [
            np.asarray(Image.open(tmp_path / folder / f"{stem}.png")).astype(int)
            for folder in ("together", "alone")
        ]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
