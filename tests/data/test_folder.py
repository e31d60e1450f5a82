"""A user's own pictures: a table, or folders matched by name."""

import random
import shutil
from pathlib import Path

import pytest

from leffa.data.folder import FolderPairs
from leffa.data.transforms import PersonTransform
from leffa.synthetic.write import write_folder


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folder") / "mine"
    write_folder(root, 4, 3, height=64, width=48)
    return root


@pytest.fixture
def mine(synthetic_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(synthetic_folder, tmp_path / "mine")


def test_a_table_names_every_file_of_a_sample(synthetic_folder: Path) -> None:
    records = FolderPairs(synthetic_folder, "train.csv")
    assert [record.category for record in records] == [
        *("upper_body", "lower_body", "dresses", "upper_body"),
    ]
    record = records[1]
    assert record.name == "000001"
    assert record.source == synthetic_folder / "persons/000001.jpg"
    assert record.keypoints == synthetic_folder / "keypoints/000001.json"
    for densepose in ("colour", "skeleton"):
        make = PersonTransform(64, 48, densepose=densepose, loss_region="garment")
        assert make(record, random.Random(0))["loss_region"].sum() > 0


def test_two_columns_are_enough(mine: Path) -> None:
    table = mine / "pairs.csv"
    table.write_text(
        "\ufeffperson,garment,mask\n"
        f"persons/000000.jpg,{mine / 'garments/000001.jpg'},masks/000000.png\n"
        "persons/000000.jpg, garments/000002.jpg ,masks/000000.png\n",
        encoding="utf-8",
    )
    records = FolderPairs(mine, category="dresses")
    assert [record.name for record in records] == ["000000__000001", "000000__000002"]
    assert records[0].reference == mine / "garments/000001.jpg"
    assert {record.category for record in records} == {"dresses"}
    assert records[0].densepose is None
    sample = PersonTransform(64, 48, densepose="none")(records[0], random.Random(0))
    assert 0 < sample["mask"].mean() < 1


def test_a_table_that_is_not_there_is_to_be_written(mine: Path) -> None:
    """There is no archive that it could come from."""
    with pytest.raises(FileNotFoundError, match=r"new.csv: no such table of pairs; write it,"):
        FolderPairs(mine, "new.csv")


def test_folders_are_matched_by_name(mine: Path) -> None:
    (mine / "garments/000000.jpg").rename(mine / "garments/000000.jpeg")
    (mine / "garments/spare.jpg").write_bytes(b"")  # nobody wears it: no mistake
    records = FolderPairs(mine, table=None)
    assert len(records) == 7
    assert records[0].reference == mine / "garments/000000.jpeg"
    assert records[0].mask == mine / "masks/000000.png"
    shutil.rmtree(mine / "masks")
    assert FolderPairs(mine, table=None)[0].mask is None


def test_a_person_without_a_garment_is_named(mine: Path) -> None:
    (mine / "garments/000002.jpg").unlink()
    with pytest.raises(ValueError, match=r"no image for 1 of the 7 persons, first 000002"):
        FolderPairs(mine, table=None)


def test_half_an_optional_folder_is_an_error(mine: Path) -> None:
    (mine / "masks/000001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the .* first .*masks/000001.png"):
        FolderPairs(mine, table=None)


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"persons: no images"):
        FolderPairs(tmp_path, table=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person\na.jpg\n", r"has no column 'garment'"),
        ("person,garment,densepos\na,b,c\n", r"unknown column 'densepos'; did you mean densepose"),
        ("person,garment\na.jpg\n", r"line 2 has not as many columns"),
        ("person,garment\na.jpg,\n", r"line 2 lacks its person or its garment"),
        ("person,garment\n", r"lists nothing below its header"),
        ("person,garment\na/1.jpg,g.jpg\nb/1.jpg,g.jpg\n", r"1 names occur more than once"),
        ("person,garment,name\na.jpg,g.jpg,x/1\n", r"the name 'x/1' cannot be a file's name"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        FolderPairs(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_column_of_names_decides(mine: Path) -> None:
    (mine / "pairs.csv").write_text(
        "name,person,garment\nanna,persons/000000.jpg,garments/000001.jpg\n"
    )
    assert FolderPairs(mine)[0].name == "anna"


def test_names_that_differ_in_capitals_alone_are_one_result_on_many_disks(mine: Path) -> None:
    (mine / "train.csv").write_text(
        "name,person,garment\nAnna,persons/000000.jpg,garments/000000.jpg\n"
        "anna,persons/000001.jpg,garments/000001.jpg\n"
    )
    with pytest.raises(ValueError, match=r"listed more than once, first anna \(capitals"):
        FolderPairs(mine, "train.csv")
