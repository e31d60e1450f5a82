"""What the doctor says a folder is ready for is what the commands take."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from leffa.cli import main
from leffa.data.doctor.examine import examine
from leffa.data.folder import FolderPairs
from leffa.data.transforms import PersonTransform

ALL = ["train", "evaluate", "predict"]


@pytest.fixture
def folders(broken: Callable[[str], Path]) -> Path:
    """Folders whose files match by name."""
    root = broken("folder")
    for table in root.glob("*.csv"):
        table.unlink()
    return root


def makes_samples(root: Path, **settings: object) -> bool:
    """Whether training can, with mask files or the given settings."""
    transform = PersonTransform(96, 72, densepose="none", **settings)  # type: ignore[arg-type]
    try:
        for record in FolderPairs(root, None):
            transform(record, random.Random(0))
    except (ValueError, FileNotFoundError):
        return False
    return True


def test_tables_with_all_files_are_ready_for_everything(copies: Path) -> None:
    report = examine(copies / "folder")
    assert [each.table for each in report.ready] == ["test.csv", "train.csv"]
    for each in report.ready:
        assert each.masks == "mask"
        assert each.commands == {"tryon": ALL, "pose": ALL}
    assert "try-on, with its mask files: train, evaluate, predict" in report.to_text()


def test_photos_without_masks_are_not_ready_for_try_on(folders: Path, tmp_path: Path) -> None:
    for folder in ("masks", "parse"):
        shutil.rmtree(folders / folder)
    assert not makes_samples(folders)
    assert makes_samples(folders, task="pose", loss_region="all")
    file = tmp_path / "report.json"
    assert main(["doctor", "folder", str(folders), "--workers", "1", "--json", str(file)]) == 0
    (ready,) = json.loads(file.read_text())["ready"]
    assert ready["files"]["mask"] == 0
    assert ready["commands"] == {"tryon": [], "pose": ALL}
    text = examine(folders).to_text()
    assert "try-on: not ready: 5 of 5 pairs have no mask" in text
    assert "no problems, but not ready for try-on" in text
    assert "data.train.table=null" in text


def test_parse_and_keypoints_are_as_good_as_masks_with_a_recipe(folders: Path) -> None:
    shutil.rmtree(folders / "masks")
    (ready,) = examine(folders).ready
    assert ready.masks == "recipe"
    assert ready.commands["tryon"] == ALL


def test_a_turned_photo_is_ready_for_predict_only(folders: Path) -> None:
    photo, exif = next((folders / "persons").iterdir()), Image.Exif()
    exif[0x0112] = 3
    Image.open(photo).save(photo, exif=exif)
    assert not makes_samples(folders)
    assert makes_samples(folders, as_shown=True)
    report = examine(folders)
    assert report.ready[0].commands["tryon"] == ["predict"]
    assert "predict; not train, evaluate (exif-rotated)" in report.to_text()


def test_keypoints_of_another_size_are_no_reason_against_mask_files(folders: Path) -> None:
    for path in (folders / "keypoints").iterdir():
        content = json.loads(path.read_text())
        values = content["people"][0]["pose_keypoints_2d"]
        values[:] = [value * 10 if number % 3 < 2 else value for number, value in enumerate(values)]
        path.write_text(json.dumps(content))
    report = examine(folders)
    assert report.ready[0].commands["tryon"] == ALL
    assert "reads keypoints: not ready: mend these files first (pose-outside)" in report.to_text()
    shutil.rmtree(folders / "masks")
    assert examine(folders).ready[0].masks is None


def test_recipes_know_three_categories(folders: Path) -> None:
    shutil.rmtree(folders / "masks")
    name = next((folders / "persons").iterdir()).name
    files = f"persons/{name},garments/{name}", f"parse/{Path(name).stem}.png"
    (folders / "pairs.csv").write_text(
        "person,garment,category,parse,keypoints\n"
        f"{files[0]},tops,{files[1]},keypoints/{Path(name).stem}.json\n"
    )
    report = examine(folders)
    assert report.ready[0].masks is None
    assert "recipes know upper_body, lower_body, dresses, not the category tops" in report.to_text()


def test_what_is_not_read_is_worth_knowing(folders: Path) -> None:
    (folders / "persons/anna.heic").write_bytes(b"?")
    for folder, name in (("masks", "nobody.png"), ("keypoints", "nobody.json")):
        shutil.copy(next((folders / folder).iterdir()), folders / folder / name)
    problems = examine(folders).problems
    assert [(problem.kind, problem.where, problem.names) for problem in problems] == [
        ("extra-file", "keypoints", ("nobody.json",)),
        ("extra-file", "masks", ("nobody.png",)),
        ("left-out", "persons", ("anna.heic",)),
    ]
    assert all(problem.harmless for problem in problems)
