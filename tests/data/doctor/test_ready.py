"""What the doctor says of the masks of a folder is what try-on finds."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from leffa.cli import main
from leffa.data.doctor.examine import examine
from leffa.data.folder import FolderPairs
from leffa.data.transforms import PersonTransform


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


def test_tables_with_all_files_are_ready_for_try_on(copies: Path) -> None:
    report = examine(copies / "folder")
    assert [each.table for each in report.ready] == ["test.csv", "train.csv"]
    for each in report.ready:
        assert each.masks == "mask"
    assert "try-on, with its mask files" in report.to_text()


def test_photos_without_masks_are_not_ready_for_try_on(folders: Path, tmp_path: Path) -> None:
    for folder in ("masks", "parse"):
        shutil.rmtree(folders / folder)
    assert not makes_samples(folders)
    assert makes_samples(folders, task="pose", loss_region="all")
    file = tmp_path / "report.json"
    assert main(["doctor", "folder", str(folders), "--workers", "1", "--json", str(file)]) == 0
    (ready,) = json.loads(file.read_text())["ready"]
    assert ready["files"]["mask"] == 0
    assert ready["masks"] is None
    text = examine(folders).to_text()
    assert "not try-on: 5 of 5 pairs have no mask" in text
    assert "no problems, but not ready for try-on" in text
    assert "data.train.table=null" in text


def test_parse_and_keypoints_are_as_good_as_masks_with_a_recipe(folders: Path) -> None:
    shutil.rmtree(folders / "masks")
    (ready,) = examine(folders).ready
    assert ready.masks == "recipe"


def test_recipes_know_three_categories(folders: Path) -> None:
    shutil.rmtree(folders / "masks")
    name = next((folders / "persons").iterdir()).name
    files = f"persons/{name},garments/{name}", f"parse/{Path(name).stem}.png"
    (folders / "pairs.csv").write_text(
        "person,garment,category,parse,keypoints\n"
        f"{files[0]},tops,{files[1]},keypoints/{Path(name).stem}.json\n"
    )
    assert examine(folders).ready[0].masks is None


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
