"""What `leffa predict` refuses: one line before any work, and nothing is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Files = dict[str, Path]


def wrong(name: str, given: Files, pair: Files, folder: Path) -> tuple[Files, list[str], str]:
    """A user's mistake: the files, further arguments, and what must be said."""
    files = dict(given)
    Image.new("L", (48, 64)).save(folder / "black.png")
    Image.new("RGB", (48, 64)).save(folder / "nobody.png")
    (folder / "empty").mkdir()
    person = pair["person"]
    match name:
        case "no mask":
            del files["mask"]
            return files, [], f"{person}: has no mask, and try-on must know what to repaint"
        case "no densepose":
            del files["densepose"]
            return files, [], f"{person}: has no DensePose map, which this model was trained with"
        case "no parse":
            del files["mask"]
            return files, ["--recipe", "catvton"], f"{person}: has no parsing map"
        case "photograph as mask":
            return (
                files | {"mask": pair["garment"].parent.parent / "image" / person.name},
                [],
                ("are grey, so it is not a mask; use a black and white mask"),
            )
        case "black mask":
            return files | {"mask": folder / "black.png"}, [], "black.png: is black all over"
        case "mask of 0 and 1":
            Image.open(pair["mask"]).convert("L").point(lambda value: value // 255).save(
                folder / "ones.png"
            )
            message = "ones.png: is black all over (its values are 0 and 1); make the masks again"
            return files | {"mask": folder / "ones.png"}, [], message
        case "inverted mask":
            Image.open(pair["mask"]).convert("L").point(lambda value: 255 - value).save(
                folder / "inverted.png"
            )
            message = "inverted.png: is white around and black inside; invert them"
            return files | {"mask": folder / "inverted.png"}, [], message
        case "encoding":
            message = (
                "--encoding colour: the model reads DensePose as iuv, which colour files do not"
            )
            return files, ["--encoding", "colour"], message
        case "label map as person":
            return files | {"person": pair["parse"]}, [], "colours, so it is a mask or a label"
        case "mask as garment":
            return files | {"garment": pair["mask"]}, [], "give the photograph itself"
        case "photograph as densepose":
            return files | {"densepose": person}, [], "not a part id (0-24); choose --encoding"
        case "nobody":
            return files | {"densepose": folder / "nobody.png"}, [], "nobody.png: shows no body"
        case "no file":
            return files | {"garment": folder / "x.jpg"}, [], "x.jpg: no such file or folder"
        case "empty folder":
            return files | {"garment": folder / "empty"}, [], "empty: no images (.jpg,"
        case "folder as mask":
            return files | {"mask": folder}, [], "--mask must be a file, as --person is"
        case "no garment":
            del files["garment"]
            return files, [], "--garment is missing: give --person and --garment, or --table"
        case "table and files":
            return files, ["--table", "x.csv"], "--person and --table x.csv exclude each other"
        case "recipe":
            return files, ["--recipe", "magic"], "--recipe magic: choose one of viton_hd, hr_viton"
        case "size":
            return (
                files,
                ["--size", "66x48"],
                "--size 66x48: images of 66x48 are not a multiple of 4",
            )
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name",
    [
        *("no mask", "no densepose", "no parse", "photograph as mask", "black mask"),
        *("mask of 0 and 1", "inverted mask", "encoding"),
        *("label map as person", "mask as garment"),
        "photograph as densepose",
        *("nobody", "no file", "empty folder", "folder as mask", "no garment"),
        *("table and files", "recipe", "size"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    run_predict: Callable[..., int],
    given: Files,
    pair: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    files, arguments, message = wrong(name, given, pair, tmp_path)
    assert run_predict(tmp_path / "out", files, *arguments) == 1
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("error: ")
    assert message in printed[0]
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_there_are_named(
    run_predict: Callable[..., int],
    given: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for ckpt, message in (
        (tmp_path / "nothing", "nothing: no such weights; give a .ckpt file"),
        (tmp_path / "virtual_tryon.pth", "virtual_tryon.pth: no such weights file"),
    ):
        assert run_predict(tmp_path / "out", given, ckpt=ckpt) == 1
        assert message in capsys.readouterr().err


def test_never_writes_over_a_photograph_or_a_file_of_somebody_else(
    run_predict: Callable[..., int],
    given: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = tmp_path / "anna.png"
    Image.open(given["person"]).save(mine)
    before = mine.read_bytes()
    assert run_predict(tmp_path, given | {"person": mine}) == 1
    assert f"{mine}: is an input, which is never replaced" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    keypoints = tmp_path / "out" / "anna.json"  # as OpenPose writes them
    keypoints.write_text("{}")
    assert run_predict(tmp_path / "out", given | {"person": mine}) == 1
    assert f"{keypoints}: exists and was not written by" in capsys.readouterr().err
    assert mine.read_bytes() == before
    assert keypoints.read_text() == "{}"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["anna.json"]
