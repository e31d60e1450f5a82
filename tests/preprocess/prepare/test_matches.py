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
from leffa.data.folder import FolderPairs
from leffa.data.published import DressCode, VitonHD
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


@pytest.fixture(scope="session")
def matched(prints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with its matches."""
    root = Path(shutil.copytree(prints, tmp_path_factory.mktemp("matched") / "pairs"))
    assert str(prepare_matches(root)).startswith("2 of 3 pairs have trusted matches, ")
    return root


@pytest.fixture
def done(matched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(matched, tmp_path / "done"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_pair_has_a_file_that_its_class_reads(prints: Path, done: Path) -> None:
    assert all(record.matches is None for record in FolderPairs(prints, None))
    records = FolderPairs(done, None)
    assert [record.matches and record.matches.name for record in records] == [
        *("anna__anna.json", "ben__ben.json", "carl__carl.json"),
    ]
    anna, _, carl = (
        json.loads(record.matches.read_bytes()) for record in records if record.matches
    )
    assert anna["person"] == {"file": "anna.png", "size": list(SIZE)}
    x, y, u, v = (np.array(anna["matches"]) * (*SIZE, *SIZE)).T
    assert np.median(np.hypot(*np.subtract(bend(x, y), (u, v)))) < 0.3
    assert carl["matches"] == []
    counted = sum(len(json.loads(text)["matches"]) for text in contents(done / "matches").values())
    assert prepare_matches(done).matches == counted


def test_a_killed_run_is_completed_and_finished_pairs_are_kept(pairs: Path, matched: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_matches(pairs, progress=stop)
    assert list(contents(pairs / "matches")) == ["anna__anna.json"]
    first = (pairs / "matches/anna__anna.json").stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    prepare_matches(pairs, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]
    assert contents(pairs / "matches") == contents(matched / "matches")
    assert (pairs / "matches/anna__anna.json").stat().st_mtime_ns == first


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


def test_pairs_of_all_tables_have_theirs_and_no_other_pair_does(pairs: Path) -> None:
    for table, garment in (("train", "anna"), ("test", "ben")):
        row = f"persons/anna.png,garments/{garment}.png,anna"
        (pairs / f"{table}.csv").write_text(f"person,garment,name\n{row}\n")
    found = prepare_matches(pairs)
    assert (found.pairs, found.covered) == (2, 1)
    (own,), (other,) = (FolderPairs(pairs, f"{table}.csv") for table in ("train", "test"))
    assert own.matches == pairs / "matches/anna__anna.json"
    assert other.matches == pairs / "matches/anna__ben.json"
    row = "persons/anna.png,garments/carl.png,anna"
    (pairs / "test.csv").write_text(f"person,garment,name\n{row}\n")
    assert FolderPairs(pairs, "test.csv")[0].matches is None


def test_two_pairs_of_the_same_names_are_refused(pairs: Path) -> None:
    shutil.copytree(pairs / "persons", pairs / "others")
    rows = ["persons/anna.png,garments/anna.png,a", "others/anna.png,garments/anna.png,b"]
    (pairs / "pairs.csv").write_text("\n".join(["person,garment,name", *rows, ""]))
    with pytest.raises(ValueError, match=r"would both have the matches anna__anna\.json"):
        prepare_matches(pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "mine@1"}, r"by mine@1, not of .* by rootsift"),
        ({"person": {"file": "eve.png", "size": [1, 1]}}, r"matches of eve.png and anna.png"),
        ({"matches": [[0, 0, 0]]}, "holds no matches; delete it and run"),
    ],
)
def test_files_of_other_matches_are_refused(
    change: dict[str, object], message: str, done: Path
) -> None:
    path = done / "matches/anna__anna.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(ValueError, match=message):
        prepare_matches(done)
    assert json.loads(path.read_bytes()).items() >= change.items()


def test_the_command_tells_how_many_pairs_are_covered(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (done / "matches/ben__ben.json").unlink()
    for _ in range(2):  # the second time nothing is left to do
        assert main(["prepare", "matches", str(done), "--workers", "1"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == str(done / "matches")
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
    line = told(pairs, "--workers", "1")
    assert "1 of 3 files of matches could not be made, first " in line
    assert "ben.png: is not a readable image" in line
    assert (pairs / "matches/carl__carl.json").is_file()
