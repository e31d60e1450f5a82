"""Pictures in the sizes in use; an interrupted run goes on with the same bytes."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.data.deepfashion import DeepFashion
from leffa.preprocess.prepare.jobs import make_files
from leffa.preprocess.prepare.resize import resize_deepfashion, resized


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_resizes_deepfashion_to_the_sizes_in_use(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    folders = resize_deepfashion(root)
    assert [folder.name for folder in folders] == ["256x176", "512x352"]
    small = DeepFashion(root, densepose="none", pictures="256x176")
    assert len(small) == 3
    with Image.open(small[0].source) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (176, 256))
    original = next((root / "train_highres").glob(f"{small[0].source.stem}.jpg"))
    expected = Image.open(original).convert("RGB").resize((176, 256), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(Image.open(small[0].source)), np.asarray(expected))


def test_reads_the_tree_of_the_release(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    flat = contents(resize_deepfashion(root, [(44, 64)])[0])
    for folder in ("train_highres", "test_highres", "64x44"):
        shutil.rmtree(root / folder)
    assert contents(resize_deepfashion(root, [(44, 64)])[0]) == flat


def test_cuts_the_border_of_the_low_resolution_release(tmp_path: Path) -> None:
    square = np.full((256, 256, 3), 255, np.uint8)
    square[:, 40:216] = np.random.default_rng(0).integers(0, 200, (256, 176, 3))
    Image.fromarray(square).save(tmp_path / "a.png")
    picture = resized(tmp_path / "a.png", (176, 256))
    assert np.array_equal(np.asarray(picture), square[:, 40:216])


def test_missing_and_damaged_pictures_are_named(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    picture = sorted((root / "test_highres").iterdir())[0]
    picture.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=f"1 of 6 images could not .* first .*{picture.name}"):
        resize_deepfashion(root, [(44, 64)])
    assert len(list((root / "64x44").iterdir())) == 5  # the others are made all the same
    picture.unlink()
    with pytest.raises(FileNotFoundError, match=r"mmlab\.ie\.cuhk\.edu\.hk"):
        resize_deepfashion(root, [(44, 64)])


# --- interrupted runs ---------------------------------------------------------------------------


def test_a_finished_file_is_not_made_again(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    folder = resize_deepfashion(root, [(44, 64)])[0]
    first, second = sorted(folder.iterdir())[:2]
    kept, made = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    seen: list[tuple[int, int]] = []
    resize_deepfashion(root, [(44, 64)], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(6, 6)]
    assert first.stat().st_mtime_ns == kept
    assert second.read_bytes() == made


def test_processes_make_the_same_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 256, (20, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    results = []
    for workers in (1, 2):
        folder = tmp_path / f"by{workers}"
        pictures = {
            folder / f"{n}.png": partial(resized, tmp_path / f"{n}.png", (8, 12)) for n in range(20)
        }
        make_files(pictures, "pictures", workers, None)
        results.append(contents(folder))
    assert results[0] == results[1]
    assert len(results[0]) == 20
