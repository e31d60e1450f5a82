"""`leffa predict`: from files to pictures, resumable."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from leffa.cli import main
from leffa.data.part_colours import PART_COLOURS
from leffa.models.leffa import LeffaModel

pytestmark = pytest.mark.usefixtures("built_once")

Files = dict[str, Path]


@pytest.fixture
def folders(synthetic: Path, tmp_path: Path) -> Path:
    """The synthetic test persons as a user's own folders."""
    root, test = tmp_path / "mine", synthetic / "test"
    for number, person in enumerate(sorted((test / "image").iterdir())):
        cloth = sorted((test / "cloth").iterdir())[number]
        places = {
            "persons": person,
            "garments": cloth,
            "masks": test / "agnostic-mask" / f"{person.stem}_mask.png",
            "densepose": test / "image-iuv" / f"{person.stem}.png",
        }
        for folder, file in places.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / folder / f"{person.stem}{file.suffix}")
    return root


def in_folders(root: Path) -> Files:
    names = {"person": "persons", "garment": "garments", "mask": "masks", "densepose": "densepose"}
    return {option: root / folder for option, folder in names.items()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_photograph_is_taken_as_a_viewer_shows_it(
    run_predict: Callable[..., int], given: Files, tmp_path: Path, display_p3: bytes
) -> None:
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 8  # a viewer turns it by a quarter to the left
    stored = Image.open(given["person"]).transpose(Image.Transpose.ROTATE_270)
    stored.save(turned, exif=exif, icc_profile=display_p3)
    assert run_predict(tmp_path / "out", given | {"person": turned}, "--paste-back") == 0
    with Image.open(tmp_path / "out/turned.png") as made:
        assert "icc_profile" not in made.info
    kept = pixels(given["mask"])[..., 0] == 0
    ImageCms.profileToProfile(
        shown := Image.open(given["person"]).convert("RGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(display_p3)),
        ImageCms.createProfile("sRGB"),
        inPlace=True,
    )
    found = pixels(tmp_path / "out/turned.png")
    assert np.abs(found - np.asarray(shown).astype(int))[kept].max() <= 1


def test_a_folder_is_read_in_any_spelling_and_what_is_left_out_is_said(
    run: Path, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted((folders / "persons").iterdir())[0]
    Image.open(first).save(folders / "persons/Zoe\u0308.TIF", "TIFF")
    Image.open(folders / "garments" / first.name).save(folders / "garments/Zo\u00eb.JFIF", "JPEG")
    for folder in ("masks", "densepose"):
        shutil.copy(folders / folder / f"{first.stem}.png", folders / folder / "Zo\u00eb.PNG")
    (folders / "persons/anna.heic").write_bytes(b"?")
    out = ["--out", str(tmp_path / "out"), "--steps", "1", "--device", "cpu"]
    assert main(["predict", "--ckpt", str(run), "--root", str(folders), *out]) == 0
    assert (tmp_path / "out/Zo\u00eb.png").is_file()
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    assert "persons: left out: 1 .heic; what is read: .jpg" in capsys.readouterr().err


def test_one_pair_makes_one_picture_and_its_settings(
    run_predict: Callable[..., int], given: Files, run: Path, tmp_path: Path
) -> None:
    assert run_predict(tmp_path, given, "--save-flow", "--seed", "7") == 0
    name = given["person"].stem
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    expected = [f"{name}.json", f"{name}.png", f"flow/{name}.png", f"warped/{name}.png"]
    assert made == sorted(expected)
    assert {pixels(tmp_path / file).shape for file in expected[1:]} == {(64, 48, 3)}
    settings = json.loads((tmp_path / f"{name}.json").read_text())
    assert settings["files"]["mask"]["path"] == str(given["mask"])
    assert settings["weights"]["path"] == str(run)
    assert settings["sampler"]["seed"] == 7
    assert settings["sampler"]["steps"] == 2
    assert settings["inputs"]["densepose"] == "iuv"
    assert "torch" in settings["versions"]
    shown = pixels(tmp_path / "flow" / f"{name}.png")
    outside = pixels(given["mask"]).max(axis=-1) < 128
    assert (shown[outside] == 255).all()  # white where nothing is generated
    assert shown[~outside].std() > 0


def test_another_seed_makes_another_picture(
    run_predict: Callable[..., int], given: Files, tmp_path: Path
) -> None:
    for folder, seed in (("a", "0"), ("b", "1"), ("c", "0")):
        assert run_predict(tmp_path / folder, given, "--seed", seed) == 0
    first, other, again = (next((tmp_path / folder).glob("*.png")) for folder in "abc")
    assert first.read_bytes() == again.read_bytes()
    assert (pixels(first) != pixels(other)).any()


def test_folders_match_by_name_and_the_batch_size_changes_nothing_visible(
    run_predict: Callable[..., int], folders: Path, tmp_path: Path
) -> None:
    files = in_folders(folders)
    assert run_predict(tmp_path / "one", files) == 0
    assert run_predict(tmp_path / "two", files, "--batch-size", "2") == 0
    assert run_predict(tmp_path / "root", {"root": folders}) == 0
    made = sorted((tmp_path / "one").glob("*.png"))
    assert len(made) == 3
    for path in made:
        assert path.read_bytes() == (tmp_path / "root" / path.name).read_bytes()
        assert np.abs(pixels(path) - pixels(tmp_path / "two" / path.name)).max() <= 1


def test_one_person_tries_a_folder_of_garments_on(
    run_predict: Callable[..., int], folders: Path, given: Files, tmp_path: Path
) -> None:
    assert run_predict(tmp_path / "out", given | {"garment": folders / "garments"}) == 0
    person = given["person"].stem
    expected = {f"{person}__{path.stem}.png" for path in (folders / "garments").iterdir()}
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == expected


def test_a_table_says_who_wears_what(
    run_predict: Callable[..., int], given: Files, tmp_path: Path
) -> None:
    table = tmp_path / "pairs.csv"
    row = ",".join(str(path.absolute()) for path in given.values())
    table.write_text(f"name,{','.join(given)}\nfirst,{row}\nsecond,{row}\n")
    assert run_predict(tmp_path / "out", {"table": table}) == 0
    first, second = (tmp_path / "out" / f"{name}.png" for name in ("first", "second"))
    assert (pixels(first) != pixels(second)).any()  # the name seeds the noise


def test_what_is_finished_is_kept_and_what_is_not_is_made(
    run_predict: Callable[..., int],
    folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files, out = in_folders(folders), tmp_path / "out"
    assert run_predict(out, files) == 0
    pictures = sorted(out.glob("*.png"))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in pictures}
    pictures[1].with_suffix(".json").unlink()  # as if killed before it was written
    of_another = out / "theirs" / "half.123.unfinished"
    of_another.parent.mkdir()
    of_another.write_text("half a picture")
    earlier = json.loads(pictures[0].with_suffix(".json").read_text())
    for key in ("eta", "set_alpha_to_one", "condition_latents"):  # which came later
        del earlier["sampler"][key]
    pictures[0].with_suffix(".json").write_text(json.dumps(earlier))
    assert run_predict(out, files) == 0
    assert all(path.read_bytes() == content for path, (_, content) in before.items())
    remade = [path for path, (time, _) in before.items() if path.stat().st_mtime_ns != time]
    assert remade == [pictures[1]]
    assert [*out.rglob("*.unfinished")] == [of_another]
    assert run_predict(out, files, "--seed", "1") == 1
    assert f"{pictures[0]}: was made with other settings (sampler)" in capsys.readouterr().err


def test_what_else_is_written_to_the_runs_folder_is_none_of_the_weights(
    run_predict: Callable[..., int], run: Path, given: Files, tmp_path: Path
) -> None:
    copied, out = shutil.copytree(run, tmp_path / "run"), tmp_path / "run" / "pictures"
    assert run_predict(out, given, ckpt=copied) == 0
    (picture,) = out.glob("*.png")
    made = picture.stat().st_mtime_ns
    assert run_predict(out, given, ckpt=copied) == 0  # its own pictures are there now
    assert picture.stat().st_mtime_ns == made
    os.utime(copied / "checkpoints" / "last.ckpt", (0, 0))
    assert run_predict(out, given, ckpt=copied) == 1


def test_a_log_file_gets_lines_that_tell_how_long_it_takes(
    run_predict: Callable[..., int],
    folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("leffa.io.progress.EVERY", -1.0)
    assert run_predict(tmp_path / "out", in_folders(folders)) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(re.fullmatch(r"checking files: 3 of 3, \d+ min left", line) for line in lines)
    assert any(re.fullmatch(r"denoising steps: 5 of 6, \d+ min left", line) for line in lines)
    assert run_predict(tmp_path / "out", in_folders(folders)) == 0
    assert capsys.readouterr().err.splitlines() == ["3 of 3 images exist already"]


def test_a_changed_file_is_another_picture(
    run_predict: Callable[..., int],
    folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files, out = in_folders(folders), tmp_path / "out"
    assert run_predict(out, files) == 0
    garment = sorted(files["garment"].iterdir())[0]
    Image.open(garment).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(garment)
    assert run_predict(out, files) == 1
    assert "was made with other settings (files)" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(160, 90), (60, 200)])
def test_any_shape_of_photograph_comes_back_in_its_shape(
    run_predict: Callable[..., int], given: Files, tmp_path: Path, size: tuple[int, int]
) -> None:
    files = dict(given)
    for name in ("person", "mask", "densepose"):
        files[name] = tmp_path / f"{name}.png"
        nearest = Image.Resampling.NEAREST if name != "person" else Image.Resampling.BICUBIC
        Image.open(given[name]).resize(size, nearest).save(files[name])
    assert run_predict(tmp_path / "out", files, "--paste-back") == 0
    result = tmp_path / "out" / "person.png"
    assert pixels(result).shape[1::-1] == size
    # Far from the mask the photograph is untouched: nothing of the padding is left.
    difference = np.abs(pixels(result) - pixels(files["person"])).max(axis=-1)
    mask = Image.open(files["mask"]).convert("L")
    around = np.asarray(mask.resize((12, 16)).resize(size, Image.Resampling.BILINEAR)) > 0
    assert (difference[~around] == 0).all()
    assert difference[np.asarray(mask) > 128].max() > 0


@pytest.mark.parametrize("category", ["upper_body", "lower_body", "dresses"])
def test_a_recipe_makes_the_mask_of_each_category(
    run_predict: Callable[..., int], pair: Files, tmp_path: Path, category: str
) -> None:
    files = {name: path for name, path in pair.items() if name != "mask"}
    chosen = ["--recipe", "ootdiffusion", "--category", category]
    assert run_predict(tmp_path, files, *chosen, "--paste-back") == 0
    name = pair["person"].stem
    settings = json.loads((tmp_path / f"{name}.json").read_text())
    assert settings["category"] == category
    assert settings["inputs"]["agnostic"] == "ootdiffusion"
    changed = np.abs(pixels(tmp_path / f"{name}.png") - pixels(pair["person"])).max(axis=-1) > 8
    rows = np.nonzero(changed.any(axis=1))[0]
    assert 0 < changed.mean() < 1
    if category == "lower_body":
        assert rows.min() > 16  # nothing of head and chest


def test_puts_a_person_into_another_pose(
    run_predict: Callable[..., int], pose_run: Path, synthetic_poses: Path, tmp_path: Path
) -> None:
    pictures = sorted((synthetic_poses / "test_highres").iterdir())[:2]
    files = {
        "person": pictures[0],
        "garment": pictures[1],
        "densepose": synthetic_poses / "densepose" / f"{pictures[0].stem}.png",
    }
    assert run_predict(tmp_path, files, "--save-flow", ckpt=pose_run) == 0
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_densepose_is_converted_to_what_the_model_reads(
    run_predict: Callable[..., int], run: Path, given: dict[str, Path], tmp_path: Path
) -> None:
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    content["inputs"]["densepose"] = "colour"
    torch.save(content, tmp_path / "colours.ckpt")
    parts = np.asarray(Image.open(given["densepose"]))[..., 0]
    colours = tmp_path / "colours.png"
    Image.fromarray(PART_COLOURS.astype(np.uint8)[parts]).save(colours)
    pictures = []
    for files, arguments in ((given, ["--encoding", "iuv"]), (given | {"densepose": colours}, [])):
        out = tmp_path / str(len(pictures))
        assert run_predict(out, files, *arguments, ckpt=tmp_path / "colours.ckpt") == 0
        (picture,) = out.glob("*.png")
        pictures.append(picture.read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(("pairs", "decoded"), [(1, [1]), (3, [2, 2])])
def test_no_picture_is_computed_that_none_needs(
    run_predict: Callable[..., int],
    given: Files,
    folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pairs: int,
    decoded: list[int],
) -> None:
    """Batches are of one size, so that an interruption changes no bit; none is too large."""
    sizes, decode = [], LeffaModel.decode

    def counted(model: LeffaModel, latents: torch.Tensor) -> torch.Tensor:
        sizes.append(len(latents))
        return decode(model, latents)

    monkeypatch.setattr(LeffaModel, "decode", counted)
    files = given if pairs == 1 else in_folders(folders)
    size = "8" if pairs == 1 else "2"
    assert run_predict(tmp_path / "out", files, "--batch-size", size) == 0
    assert sizes == decoded
