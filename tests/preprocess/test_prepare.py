"""From a download to what training reads: lists, sizes and masks; interrupted runs go on."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.data.deepfashion import DeepFashion
from leffa.data.doctor.examine import examine
from leffa.data.dress_code import DressCode
from leffa.data.market1501 import Market1501
from leffa.data.viton_hd import VitonHD
from leffa.preprocess.prepare.jobs import run_jobs
from leffa.preprocess.prepare.lists import (
    deepfashion_pictures,
    list_deepfashion,
    list_dress_code,
    list_market1501,
    list_viton_hd,
)
from leffa.preprocess.prepare.masks import make_masks
from leffa.preprocess.prepare.resize import SIZES, Resize, resize_pictures
from leffa.synthetic.write import WRITERS

LAYOUTS = ("viton_hd", "dress_code", "deepfashion", "market1501", "folder")


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("downloads")
    for layout in LAYOUTS:
        WRITERS[layout](root / layout, 3, 3, height=96, width=72)
    return root


@pytest.fixture
def download(downloads: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a data set, to be changed."""
    return lambda layout: Path(shutil.copytree(downloads / layout, tmp_path / layout))


def resize_deepfashion(
    root: Path,
    sizes: Sequence[tuple[int, int]] = SIZES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    return resize_pictures(deepfashion_pictures(root), root, sizes, progress=progress)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- sizes --------------------------------------------------------------------------------------


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
    (tmp_path / "b.png").write_bytes(
        Resize(tmp_path / "a.png", tmp_path / "b.png", (176, 256)).make()
    )
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), square[:, 40:216])


def test_missing_and_damaged_pictures_are_named(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    picture = sorted((root / "test_highres").iterdir())[0]
    picture.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=f"1 pictures could not .* first .*{picture.name}"):
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


@pytest.mark.slow
def test_a_killed_run_is_completed_with_the_same_bytes(
    download: Callable[[str], Path], tmp_path: Path
) -> None:
    root = download("deepfashion")
    size = (704, 1024)  # large, so that the run lasts until it is killed
    folder = root / "1024x704"
    command = [*(sys.executable, "-m", "leffa", "prepare", "deepfashion", str(root))]
    options = ["--sizes", "1024x704", "--workers", "1"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder.is_dir() and any(folder.glob("fashion*.png"))):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    interrupted = {path.name for path in folder.glob("fashion*.png")}
    assert 0 < len(interrupted) < 6
    resize_deepfashion(root, [size])
    whole = contents(folder)
    shutil.rmtree(folder)
    assert contents(resize_deepfashion(root, [size])[0]) == whole
    assert len(whole) == 6


def test_a_half_written_file_is_overwritten(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    names = sorted(path.stem for path in (root / "train_highres").iterdir())
    (root / "64x44").mkdir()
    (root / "64x44" / f".{names[0]}.png.unfinished").write_bytes(b"half")
    folder = resize_deepfashion(root, [(44, 64)])[0]
    assert not list(folder.glob(".*"))
    assert len(list(folder.iterdir())) == 6


def test_processes_make_the_same_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 256, (20, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    results = []
    for workers in (1, 2):
        folder = tmp_path / f"by{workers}"
        jobs = [Resize(tmp_path / f"{n}.png", folder / f"{n}.png", (8, 12)) for n in range(20)]
        assert run_jobs(jobs, workers, None) == []
        results.append(contents(folder))
    assert results[0] == results[1]
    assert len(results[0]) == 20


# --- lists --------------------------------------------------------------------------------------


def test_pairs_of_deepfashion_are_all_views_of_one_person(
    download: Callable[[str], Path],
) -> None:
    root = download("deepfashion")
    shutil.rmtree(root / "flow")  # of the drawn pairs only
    drawn = {record.name for record in DeepFashion(root, "test")}
    for split in ("train", "test"):
        (root / f"fasion-resize-pairs-{split}.csv").unlink()
    written = list_deepfashion(root)
    assert [path.name for path in written] == [
        f"fasion-resize-pairs-{split}.csv" for split in ("train", "test")
    ]
    made = {record.name for record in DeepFashion(root, "test")}
    assert drawn < made
    assert len(made) == 6  # three views, ordered
    assert list_deepfashion(root) == []


def test_pictures_without_a_torso_are_in_no_pair(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    shutil.rmtree(root / "flow")  # of the drawn pairs only
    (root / "fasion-resize-pairs-test.csv").unlink()
    path = root / "fasion-resize-annotation-test.csv"
    head, first, *others = path.read_text().splitlines()
    name = first.split(":")[0]
    missing = [-1] * 18
    path.write_text("\n".join([head, f"{name}:{missing}:{missing}", *others]) + "\n")
    list_deepfashion(root)
    assert name not in (root / "fasion-resize-pairs-test.csv").read_text()
    assert len(DeepFashion(root, "test")) == 2


def test_pairs_of_market_leave_out_junk(download: Callable[[str], Path]) -> None:
    root = download("market1501")
    for split in ("train", "test"):
        (root / f"market-pairs-{split}.csv").unlink()
    person = sorted((root / "test").glob("*.jpg"))[0]
    for junk in ("-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg"):
        shutil.copy(person, root / "test" / junk)
    assert len(list_market1501(root)) == 2
    records = Market1501(root, "test")
    assert len(records) == 6
    assert not any(record.source.name.startswith(("-1", "0000")) for record in records)


def test_lists_of_dress_code_follow_from_each_other(download: Callable[[str], Path]) -> None:
    root = download("dress_code")
    before = {path.relative_to(root): path.read_text() for path in root.rglob("*.txt")}
    (root / "dresses/train_pairs.txt").unlink()
    (root / "test_pairs_unpaired.txt").unlink()
    assert len(list_dress_code(root)) == 2
    assert {path.relative_to(root): path.read_text() for path in root.rglob("*.txt")} == before
    assert examine(root).clean
    for path in root.rglob("train_pairs.txt"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"github\.com/aimagelab/dress-code"):
        list_dress_code(root)


def test_the_train_list_of_viton_hd_is_made_and_the_test_list_is_asked_for(
    download: Callable[[str], Path],
) -> None:
    root = download("viton_hd")
    drawn = [record.name for record in VitonHD(root, "train")]
    (root / "train_pairs.txt").unlink()
    assert list_viton_hd(root) == [root / "train_pairs.txt"]
    assert [record.name for record in VitonHD(root, "train")] == sorted(drawn)
    (root / "test_pairs.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot be made from names.*VITON-HD"):
        list_viton_hd(root)


# --- masks --------------------------------------------------------------------------------------


@pytest.fixture
def maskless(download: Callable[[str], Path]) -> Iterator[Path]:
    """VITON-HD as copies without masks have it."""
    root = download("viton_hd")
    for split in ("train", "test"):
        shutil.rmtree(root / split / "agnostic-mask")
    yield root


def overlap(first: Path, second: Path) -> float:
    a, b = (np.asarray(Image.open(path).convert("L")) >= 128 for path in (first, second))
    return float((a & b).sum() / (a | b).sum())


def test_makes_the_masks_where_the_class_reads_them(maskless: Path, downloads: Path) -> None:
    sets = make_masks(maskless, "hr_viton")
    assert [entry.folder.parent.name for entry in sets] == ["train", "test"]
    records = VitonHD(maskless, "test")
    for record in records:
        assert record.mask is not None
        with Image.open(record.mask) as image:
            assert image.mode == "RGB"  # as in the release
        drawn = downloads / "viton_hd/test/agnostic-mask" / record.mask.name
        assert overlap(record.mask, drawn) > 0.5
    report = examine(maskless)
    assert report.clean, report.to_text()
    assert "hr_viton" in (maskless / "test/agnostic-mask.json").read_text()
    assert not list(maskless.glob("*/*.unfinished"))


def test_an_interrupted_run_leaves_no_half_folder_and_is_completed(maskless: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_masks(maskless, "hr_viton", progress=stop)
    assert not (maskless / "train/agnostic-mask").exists()
    assert all(record.mask is None for record in VitonHD(maskless, "train"))
    with pytest.raises(ValueError, match="by the recipe hr_viton"):
        make_masks(maskless, "viton_hd")
    seen: list[tuple[int, int]] = []
    make_masks(maskless, "hr_viton", progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (3, 6)
    again = contents(maskless / "train/agnostic-mask")
    shutil.rmtree(maskless / "train/agnostic-mask")
    make_masks(maskless, "hr_viton")
    assert contents(maskless / "train/agnostic-mask") == again


def test_dress_code_masks_follow_the_category(download: Callable[[str], Path]) -> None:
    root = download("dress_code")
    for category in ("upper_body", "lower_body", "dresses"):
        shutil.rmtree(root / category / "agnostic_masks")
    make_masks(root, "dress_code")
    masks = {record.category: record.mask for record in DressCode(root, "test")}
    assert all(masks.values())
    shares = {
        category: [np.asarray(Image.open(path))[half].mean() for half in (np.s_[:48], np.s_[48:])]
        for category, path in masks.items()
        if path
    }
    assert shares["upper_body"][0] > shares["lower_body"][0]
    assert shares["lower_body"][1] > shares["lower_body"][0]
    assert examine(root).clean


def test_masks_that_are_there_are_not_touched(download: Callable[[str], Path]) -> None:
    root = download("viton_hd")
    before = contents(root / "test/agnostic-mask")
    with pytest.raises(ValueError, match="not made here"):
        make_masks(root, "hr_viton")
    assert contents(root / "test/agnostic-mask") == before


def test_a_person_without_a_pose_is_named(maskless: Path) -> None:
    pose = sorted((maskless / "test/openpose_json").iterdir())[0]
    pose.write_text('{"people": []}')
    with pytest.raises(ValueError, match=f"1 of 6 masks could not be made.*{pose.name}"):
        make_masks(maskless, "hr_viton")
    assert not (maskless / "test/agnostic-mask").exists()


# --- command line -------------------------------------------------------------------------------


def test_the_command_makes_masks_and_their_contact_sheet(
    maskless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "sheet.html"
    command = ["prepare", "masks", str(maskless), "--recipe", "hr_viton", "--workers", "1"]
    assert main([*command, "--html", str(page)]) == 0
    assert str(maskless / "test/agnostic-mask") in capsys.readouterr().out
    html = page.read_text()
    assert html.count("<tr>") == 1 + 6
    assert html.count("data:image/jpeg") == 6 * 5  # all columns but the reference
    assert main(command) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["masks", "."], "--recipe is missing"),
        (["masks", ".", "--recipe", "mine"], "recipe=mine: choose one of"),
        (["masks", ".", "--recipe", "hr_viton"], "masks are made for viton_hd"),
        (["viton_hd", "nowhere"], "nowhere: no such folder"),
        (["viton_hd", "."], "test_pairs.txt: no such list"),
        (["deepfashion", "."], "train.lst: no such list"),
        (["market1501", "."], "holds no pictures; ask for the data set at https://"),
        (
            ["dress_code", ".", "--sizes", "256x176"],
            "--sizes goes with `leffa prepare deepfashion`",
        ),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not any(tmp_path.iterdir())


def test_a_size_is_height_by_width() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "deepfashion", ".", "--sizes", "256"])
    assert stopped.value.code == 2
