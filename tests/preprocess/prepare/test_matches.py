"""`leffa prepare matches`: trusted matches of a whole data set."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.data.doctor.examine import examine
from leffa.data.dress_code import DressCode
from leffa.data.folder import FolderPairs
from leffa.data.viton_hd import VitonHD
from leffa.preprocess.prepare.matches import prepare_matches

from ..prints import SIZE, bend, printed, worn

pytest.importorskip("cv2", reason="needs opencv-python, which is not installed")


@pytest.fixture(scope="session")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three pairs; the garment of the last one is plain."""
    root = tmp_path_factory.mktemp("prints")
    for folder in ("persons", "garments"):
        (root / folder).mkdir()
    plain = Image.new("RGB", SIZE, "white")
    plain.paste((90, 90, 160), (50, 60, 240, 330))
    for name, garment in (("anna", printed(0)), ("ben", printed(1)), ("carl", plain)):
        garment.save(root / "garments" / f"{name}.png")
        worn(garment).save(root / "persons" / f"{name}.png")
    return root


@pytest.fixture
def pairs(prints: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prints, tmp_path / "pairs"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_pair_has_a_file_that_its_class_reads(pairs: Path) -> None:
    assert all(record.matches is None for record in FolderPairs(pairs, None))
    found = prepare_matches(pairs)
    assert str(found).startswith("2 of 3 pairs have trusted matches")
    records = FolderPairs(pairs, None)
    assert [record.matches and record.matches.name for record in records] == [
        *("anna.json", "ben.json", "carl.json"),
    ]
    anna, _, carl = (
        json.loads(record.matches.read_bytes()) for record in records if record.matches
    )
    assert anna["person"] == {"file": "anna.png", "size": list(SIZE)}
    x, y, u, v = (np.array(anna["matches"]) * (*SIZE, *SIZE)).T
    assert np.median(np.hypot(*np.subtract(bend(x, y), (u, v)))) < 0.3
    assert carl["matches"] == []
    assert found.matches == sum(
        len(json.loads(text)["matches"]) for text in contents(pairs / "matches").values()
    )


def test_a_killed_run_is_completed_and_finished_pairs_are_kept(pairs: Path) -> None:
    prepare_matches(pairs)
    whole = contents(pairs / "matches")
    shutil.rmtree(pairs / "matches")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_matches(pairs, progress=stop)
    assert list(contents(pairs / "matches")) == ["anna.json"]
    first = (pairs / "matches/anna.json").stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    prepare_matches(pairs, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]
    assert contents(pairs / "matches") == whole
    assert (pairs / "matches/anna.json").stat().st_mtime_ns == first


@pytest.mark.parametrize(
    ("layout", "folder", "name"),
    [("viton_hd", "test", "50000_00.json"), ("dress_code", "dresses", "400000_0.json")],
)
def test_published_layouts_have_them_beside_their_photographs(
    layout: str, folder: str, name: str, download: Callable[[str], Path]
) -> None:
    root = download(layout)
    found = prepare_matches(root)
    assert root / folder / "matches" in found.folders
    read = {"viton_hd": VitonHD, "dress_code": DressCode}[layout]
    for split in ("train", "test"):
        files = [record.matches for record in read(root, split)]
        assert all(path is not None and path.is_file() for path in files)
    assert all(record.matches is None for record in read(root, "test", "unpaired"))
    assert (root / folder / "matches" / name).is_file()
    assert examine(root).clean
    assert not any("matches" in problem.line for problem in examine(root).problems)


def test_tables_whose_names_mean_different_pairs_are_refused(pairs: Path) -> None:
    for table, garment in (("train", "anna"), ("test", "ben")):
        row = f"persons/anna.png,garments/{garment}.png"
        (pairs / f"{table}.csv").write_text(f"person,garment\n{row}\n")
    with pytest.raises(ValueError, match="the sample anna is another pair in another table"):
        prepare_matches(pairs)
    (pairs / "test.csv").write_text(
        "person,garment,name\npersons/anna.png,garments/ben.png,other\n"
    )
    assert prepare_matches(pairs).covered == 1
    assert [record.matches for record in FolderPairs(pairs, "test.csv")] == [
        pairs / "matches/other.json"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "mine@1"}, r"by mine@1, not of .* by rootsift"),
        ({"person": {"file": "eve.png", "size": [1, 1]}}, r"matches of eve.png and anna.png"),
        ({"matches": [[0, 0, 0]]}, "holds no matches; delete it and run"),
    ],
)
def test_files_of_other_matches_are_refused(
    change: dict[str, object], message: str, pairs: Path
) -> None:
    prepare_matches(pairs)
    path = pairs / "matches/anna.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(ValueError, match=message):
        prepare_matches(pairs)
    assert json.loads(path.read_bytes()).items() >= change.items()


def test_the_command_tells_how_many_pairs_are_covered(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second time nothing is left to do
        assert main(["prepare", "matches", str(pairs), "--workers", "1"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == str(pairs / "matches")
        assert lines[1].startswith("2 of 3 pairs have trusted matches, ")


def test_mistakes_are_one_line(
    pairs: Path, download: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def told(root: Path, *options: str) -> str:
        assert main(["prepare", "matches", str(root), *options]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "--recipe goes with `leffa prepare masks` only" in told(pairs, "--recipe", "hr_viton")
    assert "and this is market1501" in told(download("market1501"))
    assert "and this is none of them" in told(pairs / "persons")
    (pairs / "garments/ben.png").write_bytes(b"no picture")
    assert "1 of 3 pairs could not be matched, first " in (line := told(pairs, "--workers", "1"))
    assert "ben.png: is not a readable image" in line
    assert (pairs / "matches/carl.json").is_file()
