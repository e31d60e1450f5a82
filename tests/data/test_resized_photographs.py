"""Photographs of another resolution than their body maps, and the real set of a release's tree."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.data.deepfashion import DeepFashion
from leffa.data.doctor.examine import examine
from leffa.data.doctor.quick import quick_check
from leffa.data.inshop import release_path
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.run import CONF

MAKE = PersonTransform(32, 24, task="pose", densepose="iuv", loss_region="foreground")


@pytest.fixture
def resized(deepfashion: Path) -> Path:
    """Photographs at half of the maps' 24x32."""
    shutil.rmtree(deepfashion / "flow")  # of synthetic copies, whose pictures are never resized
    (deepfashion / "16x12").mkdir()
    for path in (deepfashion / "test_highres").iterdir():
        with Image.open(path) as image:
            image.resize((12, 16)).save(deepfashion / "16x12" / f"{path.stem}.png")
    return deepfashion


def test_maps_of_another_resolution_fit_resized_photographs(resized: Path) -> None:
    whole, small = (DeepFashion(resized, "test", pictures=place) for place in (None, "16x12"))
    assert small[0].source.parent.name == "16x12"
    true, found = (MAKE(records[0], random.Random(0)) for records in (whole, small))
    assert found["densepose"].equal(true["densepose"])
    assert found["loss_region"].equal(true["loss_region"])
    assert quick_check(small, densepose="iuv") == []


@pytest.mark.parametrize(
    ("field", "height"),
    [("mask", 16), ("densepose", 12), ("parse", 16)],  # DensePose may be smaller, of one shape
)
def test_a_file_of_another_size_names_both(viton_hd: Path, field: str, height: int) -> None:
    record = VitonHD(viton_hd)[0]
    path = getattr(record, field)
    Image.open(path).resize((12, height), Image.Resampling.NEAREST).save(path)
    transform = PersonTransform(32, 24, loss_region="garment")
    with pytest.raises(ValueError, match=rf"{path.name} is 12x{height} but .* is 24x32"):
        transform(record, random.Random(0))


def test_maps_of_another_shape_are_refused(resized: Path) -> None:
    records = DeepFashion(resized, "test")
    body = records[0].densepose
    assert body is not None
    Image.open(body).crop((0, 0, 24, 24)).save(body)
    with pytest.raises(ValueError, match=r"is 24x24 but .* is 24x32; use files of one release"):
        MAKE(records[0], random.Random(0))
    assert [problem.kind for problem in quick_check(records, densepose="iuv")] == ["size-mismatch"]


@pytest.mark.parametrize(("side", "clean"), [(2, True), (1, False)])
def test_the_doctor_goes_by_the_shape_of_a_body_map(
    deepfashion: Path, side: int, clean: bool
) -> None:
    for path in (deepfashion / "densepose").iterdir():
        with Image.open(path) as image:
            image.resize((24 * side, 64), Image.Resampling.NEAREST).save(path)
    sizes = [found for found in examine(deepfashion).problems if found.kind == "size-mismatch"]
    assert (not sizes) is clean


def test_the_pages_links_are_the_training_pictures(
    deepfashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (CONF.parent / "docs/reference/datasets/deepfashion.md").read_text()
    program = page.split("<<'END'\n")[1].split("END")[0].replace("\n      ", "\n").strip()
    flat = deepfashion / "train_highres"
    pictures = {path.name: path.read_bytes() for path in flat.iterdir()}
    for name in pictures:
        place = deepfashion / release_path(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        (flat / name).rename(place)
    flat.rmdir()
    (deepfashion / "train.lst").write_text("\n".join(sorted(pictures)))
    monkeypatch.chdir(deepfashion.parent)
    exec(program.replace("ROOT", deepfashion.name))
    assert {path.name: path.read_bytes() for path in flat.iterdir()} == pictures
    sample = MAKE(DeepFashion(deepfashion, "train")[0], random.Random(0))
    assert np.isfinite(sample["source"].numpy()).all()
