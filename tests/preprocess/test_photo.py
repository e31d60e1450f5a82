"""Photos prepared end to end: synthetic persons with their exact labels."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.data.folder import FolderPairs
from leffa.data.keypoints import read_keypoints
from leffa.data.labels import LabelSet
from leffa.preprocess.photo import Tools, prepare_photos
from leffa.preprocess.synthetic_labels import SyntheticLabels
from leffa.synthetic.labels import ATR_OF_CIHP
from leffa.synthetic.render import PersonDrawing

NAMES = ("anna", "ben")


def tools(drawings: dict[str, PersonDrawing], **changes: str) -> Tools:
    exact = SyntheticLabels(drawings.values())
    values = {"recipe": "hr_viton", "encoding": "iuv"} | changes
    return Tools(parser=exact, pose=exact, densepose=exact, **values)  # type: ignore[arg-type]


class LabelsInATR(SyntheticLabels):
    """As SCHP with ATR weights: the labels have other numbers."""

    label_set: LabelSet = "atr"

    def parse(self, image: Image.Image) -> np.ndarray:
        return ATR_OF_CIHP[super().parse(image)]


def masks(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "masks").iterdir())}


def test_synthetic_labels_are_those_of_the_picture(drawings: dict[str, PersonDrawing]) -> None:
    exact = SyntheticLabels(drawings.values())
    for drawing in drawings.values():
        image = Image.fromarray(drawing.image)
        assert exact.parse(image) is drawing.parsing
        assert exact.find_pose(image) is drawing.keypoints
        assert exact.find_surface(image) is drawing.iuv


def test_synthetic_labels_know_no_other_picture(drawings: dict[str, PersonDrawing]) -> None:
    pixels = drawings["anna"].image.copy()
    pixels[0, 0, 0] ^= 1
    with pytest.raises(ValueError, match="none of the synthetic images"):
        SyntheticLabels(drawings.values()).parse(Image.fromarray(pixels))


def test_a_folder_is_filled_with_the_maps_of_every_photo(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    steps: list[tuple[int, int]] = []
    result = prepare_photos(root, tools(drawings), lambda *step: steps.append(step))
    assert result.failed == {}
    assert steps == [(0, 2), (1, 2), (2, 2)]
    for name, drawing in drawings.items():
        parse = np.asarray(Image.open(root / "parse" / f"{name}.png"))
        np.testing.assert_array_equal(parse, drawing.parsing)
        iuv = np.asarray(Image.open(root / "densepose" / f"{name}.png"))
        np.testing.assert_array_equal(iuv, drawing.iuv)
        joints = read_keypoints(root / "keypoints" / f"{name}.json", (96, 128))
        expected = drawing.keypoints / np.float32([96, 128, 1])
        np.testing.assert_allclose(joints, expected, atol=1e-4)
        mask = np.asarray(Image.open(root / "masks" / f"{name}.png"))
        assert set(np.unique(mask)) == {0, 255}
        assert (mask[np.isin(drawing.parsing, (5, 6, 7))] == 255).mean() > 0.95
    assert len(result.written) == 8


def test_a_photo_that_is_stored_turned_gets_upright_maps(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    path, exif = root / "persons/anna.png", Image.Exif()
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    assert prepare_photos(root, tools(drawings)).failed == {}
    with Image.open(root / "masks/anna.png") as mask:
        assert mask.size == (96, 128)


def test_the_folder_is_what_training_and_prediction_read(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    prepare_photos(root, tools(drawings))
    (root / "garments").mkdir()
    for name in NAMES:
        Image.new("RGB", (96, 128)).save(root / "garments" / f"{name}.png")
    pairs = FolderPairs(root, table=None)
    assert [pairs[index].name for index in range(len(pairs))] == list(NAMES)
    for record in pairs[:]:
        for path in (record.mask, record.densepose, record.parse, record.keypoints):
            assert path is not None
            assert Path(str(path)).is_file()


def test_what_is_there_is_kept_and_only_the_rest_is_made(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    prepare_photos(root, tools(drawings))
    before = (root / "parse" / "anna.png").stat().st_mtime_ns
    (root / "masks" / "anna.png").unlink()
    again = prepare_photos(root, Tools(recipe="hr_viton", encoding="iuv"))
    assert again.written == [root / "masks" / "anna.png"]
    assert (root / "parse" / "anna.png").stat().st_mtime_ns == before
    assert not list(root.rglob("*.unfinished"))


def test_a_run_killed_after_the_parse_goes_on_to_the_same_masks(
    root: Path, tmp_path_factory: pytest.TempPathFactory, drawings: dict[str, PersonDrawing]
) -> None:
    """Also by a run that has no parser, and so cannot know what the labels are."""
    whole = shutil.copytree(root, tmp_path_factory.mktemp("whole"), dirs_exist_ok=True)
    labels = LabelsInATR(drawings.values())
    used = Tools(parser=labels, pose=labels, recipe="hr_viton")
    prepare_photos(whole, used)

    class Killed:
        def find_pose(self, image: Image.Image) -> np.ndarray:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_photos(root, replace(used, pose=Killed()))
    assert prepare_photos(root, used).failed == {}
    assert masks(root) == masks(whole)
    shutil.rmtree(root / "masks")
    assert prepare_photos(root, Tools(recipe="hr_viton")).failed == {}
    assert masks(root) == masks(whole)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"recipe": "viton_hd"},
            r"masks: holds files of recipe hr_viton \(masks.json\), not viton",
        ),
        ({"category": "dresses"}, r"masks: holds files of category upper_body"),
        ({"label_set": "lip"}, r"parse: holds files of label_set cihp \(parse.json\), not lip"),
        ({"encoding": "vui"}, r"densepose: holds files of encoding iuv"),
    ],
)
def test_maps_of_another_kind_are_not_kept_in_silence(
    root: Path, drawings: dict[str, PersonDrawing], changed: dict[str, str], message: str
) -> None:
    prepare_photos(root, tools(drawings))
    before = masks(root)
    with pytest.raises(ValueError, match=message):
        prepare_photos(root, tools(drawings, **changed))
    assert masks(root) == before


def test_two_label_sets_do_not_share_a_folder(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    prepare_photos(root, tools(drawings))
    (root / "parse" / "anna.png").unlink()
    other = Tools(parser=LabelsInATR(drawings.values()))
    with pytest.raises(ValueError, match="is to hold cihp labels, and the parser gives atr"):
        prepare_photos(root, other)
    shutil.rmtree(root / "parse")
    assert len(prepare_photos(root, other).written) == 2


def test_what_is_no_photo_is_left_out_and_said(
    root: Path, drawings: dict[str, PersonDrawing], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("._anna.png", ".DS_Store", "carl.heic", "dora.HEIC", "eve.gif"):
        (root / "persons" / name).write_bytes(b"no picture that is read here")
    assert prepare_photos(root, tools(drawings)).failed == {}
    assert main(["photo", str(root)]) == 0
    assert "persons: left out: 1 .gif, 2 .heic; what is read: .jpg," in capsys.readouterr().err


def test_maps_are_found_in_any_spelling_and_not_made_twice(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    prepare_photos(root, tools(drawings))
    (root / "persons/anna.png").rename(root / unicodedata.normalize("NFD", "persons/änna.png"))
    for folder, suffix in (("parse", "PNG"), ("densepose", "PNG"), ("masks", "PNG")):
        (root / folder / "anna.png").rename(root / folder / f"änna.{suffix}")
    (root / "keypoints/anna.json").rename(root / "keypoints/änna.JSON")
    assert prepare_photos(root, tools(drawings)).written == []


def test_a_photo_of_nobody_does_not_stop_the_rest(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    stranger = root / "persons" / "aaa.png"
    Image.new("RGB", (96, 128), (10, 200, 30)).save(stranger)
    result = prepare_photos(root, tools(drawings))
    assert list(result.failed) == [stranger]
    assert len(result.written) == 8


def test_mistakes_are_told_before_any_work(
    root: Path, tmp_path: Path, drawings: dict[str, PersonDrawing]
) -> None:
    with pytest.raises(ValueError, match="recipe=hrviton: choose one of viton_hd"):
        tools(drawings, recipe="hrviton")
    with pytest.raises(ValueError, match="densepose=uvi: choose one of"):
        tools(drawings, encoding="uvi")
    with pytest.raises(ValueError, match="label_set=cpih: choose one of cihp"):
        tools(drawings, label_set="cpih")
    with pytest.raises(SystemExit) as stopped:
        main(["photo", str(root), "--label-set", "cpih"])
    assert stopped.value.code == 2
    with pytest.raises(FileNotFoundError, match="no images"):
        prepare_photos(tmp_path / "empty", tools(drawings))


def test_a_map_of_another_size_is_named(root: Path, drawings: dict[str, PersonDrawing]) -> None:
    (root / "parse").mkdir()
    Image.new("L", (48, 64)).save(root / "parse" / "ben.png")
    result = prepare_photos(root, tools(drawings))
    assert list(result.failed) == [root / "persons" / "ben.png"]
    assert "ben.png is 48x64 but" in result.failed[root / "persons" / "ben.png"]


def change_keypoints(root: Path, change: Callable[[list[float]], list[list[float]]]) -> None:
    """Write other people into the files of everybody, and remove the masks."""
    for path in (root / "keypoints").iterdir():
        values = json.loads(path.read_text())["people"][0]["pose_keypoints_2d"]
        people = [{"pose_keypoints_2d": person} for person in change(values)]
        path.write_text(json.dumps({"people": people}))
    shutil.rmtree(root / "masks")


def test_a_passer_by_does_not_change_the_mask(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    prepare_photos(root, tools(drawings))
    before = masks(root)
    passer_by = (np.arange(75).reshape(25, 3) * [0.2, 0.5, 0] + [2, 100, 1]).ravel().tolist()
    change_keypoints(root, lambda values: [passer_by, values])
    assert prepare_photos(root, tools(drawings)).failed == {}
    assert masks(root) == before


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (10, "and the image is 96x128, so they belong to an image of another size"),
        (0.25, "of the keypoints lie on the person that the parsing shows"),
    ],
)
def test_keypoints_of_another_size_are_refused_before_a_mask_is_made(
    root: Path, drawings: dict[str, PersonDrawing], factor: float, message: str
) -> None:
    prepare_photos(root, tools(drawings))
    change_keypoints(
        root, lambda values: [(np.reshape(values, (25, 3)) * [factor, factor, 1]).ravel().tolist()]
    )
    failed = prepare_photos(root, tools(drawings)).failed
    assert len(failed) == 2
    assert all(message in reason for reason in failed.values())
    assert not (root / "masks").exists()


def test_an_empty_mask_is_refused_where_it_is_made(
    root: Path, drawings: dict[str, PersonDrawing]
) -> None:
    garmentless = tools(drawings, recipe="ootdiffusion", category="lower_body")
    prepare_photos(root, replace(garmentless, recipe=None))
    for path in (root / "parse").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels > 0, np.uint8(13), np.uint8(0))).save(path)
    failed = prepare_photos(root, garmentless).failed
    assert list(failed) == [root / "persons" / f"{name}.png" for name in NAMES]
    assert "anna.png: the mask is empty: the parsing, read as cihp" in next(iter(failed.values()))
    assert not (root / "masks").exists()
