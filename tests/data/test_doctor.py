"""The doctor: sound copies and real samples pass, and every kind of damage is found and named."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.commands.data import DOCTORED
from leffa.data.doctor.examine import CHOICES, examine
from leffa.data.doctor.kinds import KINDS
from leffa.data.doctor.quick import quick_check
from leffa.data.doctor.report import Problem, Report
from leffa.data.viton_hd import VitonHD
from leffa.synthetic.write import WRITERS

A, B = "50000_00", "50001_00"  # two test persons
LAYOUTS = ("viton_hd", "dress_code", "viton", "deepfashion", "market1501", "wpose", "folder")
MASK = f"test/agnostic-mask/{A}_mask.png"
POSE = f"test/openpose_json/{A}_keypoints.json"


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    for layout in LAYOUTS:
        train = 0 if layout == "wpose" else 2
        WRITERS[layout](root / layout, train, 3, height=96, width=72)
    return root


@pytest.fixture
def broken(copies: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a sound data set, to be damaged."""

    def copy(layout: str) -> Path:
        return Path(shutil.copytree(copies / layout, tmp_path / layout))

    return copy


def kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


def problem(report: Report, kind: str) -> Problem:
    found = [entry for entry in report.problems if entry.kind == kind]
    assert found, f"{kind} not among {kinds(report)}"
    return found[0]


def edit(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change a picture's pixels and leave its format."""
    with Image.open(path) as image:
        kind, pixels = image.format, np.asarray(image)
    Image.fromarray(change(pixels.copy()).astype(np.uint8)).save(path, format=kind)


def replace_text(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_passes_a_sound_copy_and_recognises_it(copies: Path, layout: str) -> None:
    report = examine(copies / layout)
    assert report.dataset == layout
    assert report.clean, report.to_text()
    assert report.drawn
    assert report.files > 0
    assert examine(copies / layout, layout).files == report.files


# --- damage -------------------------------------------------------------------------------------
# Each entry: the kind that must be named, the file or line it must name, and how to do it.

Damage = Callable[[Path], object]


def shorten(name: str, part: float = 0.5) -> Damage:
    return lambda root: (root / name).write_bytes(
        (root / name).read_bytes()[: int((root / name).stat().st_size * part)]
    )


def convert(name: str, mode: str) -> Damage:
    return lambda root: Image.open(root / name).convert(mode).save(root / name)


def fill(name: str, value: int) -> Damage:
    return lambda root: edit(root / name, lambda pixels: np.full_like(pixels, value))


def resize(name: str, size: tuple[int, int]) -> Damage:
    return lambda root: Image.open(root / name).resize(size).save(root / name)


def copy(source: str, target: str) -> Damage:
    return lambda root: shutil.copy(root / source, root / target)


def write(name: str, content: str | bytes) -> Damage:
    data = content.encode() if isinstance(content, str) else content
    return lambda root: (root / name).write_bytes(data)


def append(name: str, line: str) -> Damage:
    return lambda root: (root / name).write_text((root / name).read_text() + line)


def rename(old: str, new: str) -> Damage:
    return lambda root: (root / old).rename(root / new)


def remove(name: str) -> Damage:
    return lambda root: (root / name).unlink()


def turn(root: Path) -> None:
    image = Image.open(root / f"test/image/{A}.jpg")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(root / f"test/image/{A}.jpg", exif=exif, quality=95)


def sixteen_bit(root: Path) -> None:
    pixels = np.arange(96 * 72, dtype=np.uint16).reshape(96, 72)
    Image.fromarray(pixels).save(root / f"test/image/{A}.jpg", format="PNG")


def link_to_nowhere(root: Path) -> None:
    path = root / f"test/image/{A}.jpg"
    path.unlink()
    path.symlink_to(root / "gone.jpg")


def png_named_jpg(root: Path) -> None:
    Image.open(root / f"test/image/{A}.jpg").save(root / f"test/image/{A}.jpg", format="PNG")


def jpg_saved_as_png(root: Path) -> None:
    path = root / f"test/image/{A}.jpg"
    Image.open(path).save(path.with_suffix(".png"))
    path.unlink()


def swap_lists(root: Path) -> None:
    folder = root / "upper_body"
    paired, unpaired = folder / "test_pairs_paired.txt", folder / "test_pairs_unpaired.txt"
    first, second = paired.read_text(), unpaired.read_text()
    paired.write_text(second)
    unpaired.write_text(first)


def drop_array(root: Path) -> None:
    np.savez(root / f"test/flow/{A}.npz", flow=np.zeros((96, 72, 2)))


def other_pose(root: Path) -> None:
    content = json.loads((root / POSE).read_text())
    values = np.array(content["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
    values[:, :2] *= 8  # found in a picture of 768x1024
    content["people"][0]["pose_keypoints_2d"] = values.ravel().tolist()
    (root / POSE).write_text(json.dumps(content))


def deeper(root: Path) -> None:
    inner = root / "zalando-hd-resized"
    inner.mkdir()
    for path in list(root.iterdir()):
        if path != inner:
            path.rename(inner / path.name)


def other_body(root: Path) -> None:
    """The parse of somebody who stands in a corner."""
    parse = root / f"test/image-parse-v3/{A}.png"
    edit(parse, lambda labels: np.where(np.indices(labels.shape).sum(0) < 40, 5, 0))


def into_bgr(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., ::-1]


LIST = "test_pairs.txt"
DAMAGE: list[tuple[str, str, Damage]] = [
    # lists
    ("list-missing", "", remove(LIST)),
    ("list-empty", "", write(LIST, "\n\n")),
    ("list-encoding", "", write(LIST, "50000_00.jpg 50001_00.jpg\n".encode("utf-16"))),
    ("list-bom", "", lambda r: write(LIST, b"\xef\xbb\xbf" + (r / LIST).read_bytes())(r)),
    ("list-spaces", "line 4", append(LIST, "\n")),
    ("list-columns", "line 4", append(LIST, "50000_00.jpg\n")),
    ("list-columns", "000006_00.png", append(LIST, "000006_00.png 50001_00.jpg\n")),
    ("list-duplicate", A, append(LIST, f"{A}.jpg {B}.jpg\n")),
    ("list-absent", "99999_00.jpg", append(LIST, f"99999_00.jpg {B}.jpg\n")),
    ("list-pairing", A, write(LIST, f"{A}.jpg {A}.jpg\n{B}.jpg {B}.jpg\n")),
    # names
    ("file-missing", f"{A}.jpg", remove(f"test/image-densepose/{A}.jpg")),
    ("folder-missing", "", lambda r: shutil.rmtree(r / "test/cloth")),
    ("folder-misnamed", "image_densepose", rename("test/image-densepose", "test/image_densepose")),
    ("optional-absent", "", lambda r: shutil.rmtree(r / "test/image-densepose")),
    ("split-absent", "", lambda r: (shutil.rmtree(r / "train"), remove("train_pairs.txt")(r))),
    ("case-differs", f"{A}.JPG", rename(f"test/image/{A}.jpg", f"test/image/{A}.JPG")),
    ("suffix-differs", f"{A}.png", jpg_saved_as_png),
    ("elsewhere", "train/image", rename(f"test/image/{A}.jpg", f"train/image/{A}.jpg")),
    ("link-broken", f"{A}.jpg", link_to_nowhere),
    ("extra-file", "12345_00.jpg", copy(f"test/cloth/{A}.jpg", "test/cloth/12345_00.jpg")),
    ("extra-folder", "", lambda r: (r / "test/results").mkdir()),
    ("hidden-file", f"._{A}.jpg", write(f"test/image/._{A}.jpg", b"\0\5\x16\7")),
    ("hidden-file", ".DS_Store", write("test/image/.DS_Store", b"Bud1")),
    ("partly", "2 of 3", remove(f"test/cloth-mask/{A}.jpg")),
    ("nested", "zalando-hd-resized", deeper),
    # any file
    ("empty-file", f"{A}.jpg", write(f"test/image/{A}.jpg", b"")),
    ("git-lfs", f"{A}.jpg", write(f"test/image/{A}.jpg", "version https://git-lfs.github.com\n")),
    ("unreadable", f"{A}.jpg", shorten(f"test/image/{A}.jpg")),
    ("unreadable", f"{A}.png", shorten(f"test/image-parse-v3/{A}.png")),
    ("unreadable", "a web page", write(f"test/cloth/{A}.jpg", "<html>quota exceeded</html>")),
    ("format-differs", "PNG", png_named_jpg),
    # pictures
    ("exif-rotated", "orientation 6", turn),
    ("colour-mode", "CMYK", convert(f"test/image/{A}.jpg", "CMYK")),
    ("colour-mode", "L, expected RGB", convert(f"test/image/{A}.jpg", "L")),
    ("colour-mode", "I;16", sixteen_bit),
    ("blank", f"{A}.jpg", fill(f"test/image/{A}.jpg", 200)),
    ("size-mismatch", "36x48, photograph 72x96", resize(MASK, (36, 48))),
    ("size-odd", "72x90, others 72x96", resize(f"test/image/{A}.jpg", (72, 90))),
    (
        "person-as-garment",
        f"test/image/{A}.jpg",
        copy(f"test/image/{A}.jpg", f"test/cloth/{A}.jpg"),
    ),
    ("same-picture", f"{B}.jpg", copy(f"test/image/{A}.jpg", f"test/image/{B}.jpg")),
    ("train-in-test", f"{A}.jpg", copy("train/image/00000_00.jpg", f"test/image/{A}.jpg")),
    ("mismatch", f"{A}.jpg", copy(f"test/agnostic-v3.2/{B}.jpg", f"test/agnostic-v3.2/{A}.jpg")),
    ("mismatch", f"{A}.png", other_body),
    # masks
    ("mask-grey", "grey", lambda r: Image.open(r / f"test/agnostic-v3.2/{A}.jpg").save(r / MASK)),
    ("mask-empty", f"{A}_mask.png", fill(MASK, 0)),
    ("mask-empty", "0 and 1", lambda r: edit(r / MASK, lambda m: m // 255)),
    ("mask-full", f"{A}_mask.png", fill(MASK, 255)),
    ("mask-inverted", f"{A}_mask.png", lambda r: edit(r / MASK, lambda m: 255 - m)),
    # body maps
    ("densepose-black", f"{A}.jpg", fill(f"test/image-densepose/{A}.jpg", 0)),
    ("densepose-encoding", A, lambda r: edit(r / f"test/image-densepose/{A}.jpg", into_bgr)),
    ("densepose-encoding", "round", lambda r: edit(r / f"test/image-iuv/{A}.png", into_bgr)),
    ("parse-labels", "20, at most 19", fill(f"test/image-parse-v3/{A}.png", 20)),
    ("parse-labels", "RGB picture", convert(f"test/image-parse-v3/{A}.png", "RGB")),
    ("parse-empty", f"{A}.png", fill(f"test/image-parse-v3/{A}.png", 0)),
    # poses and arrays
    ("pose-unreadable", A, shorten(POSE)),
    ("pose-unreadable", "no OpenPose", write(POSE, "{}")),
    ("pose-nobody", A, write(POSE, '{"people": []}')),
    ("pose-nobody", "all", write(POSE, json.dumps({"people": [{"pose_keypoints_2d": [0] * 75}]}))),
    ("pose-outside", A, other_pose),
    ("array-unreadable", f"{A}.npz", shorten(f"test/flow/{A}.npz")),
    ("array-content", "no array valid", drop_array),
]


@pytest.mark.parametrize(
    ("kind", "named", "damage"),
    DAMAGE,
    ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(DAMAGE)],
)
def test_finds_and_names_the_damage(
    broken: Callable[[str], Path], kind: str, named: str, damage: Damage
) -> None:
    root = broken("viton_hd")
    damage(root)
    report = examine(root)
    found = problem(report, kind)
    assert any(named in name for name in found.names)
    assert report.clean is all(entry.harmless for entry in report.problems)
    assert report.clean == KINDS[kind].harmless or kind in ("same-picture", "train-in-test")
    assert kind in report.to_text()


def append_again(name: str, source: str, line: int) -> Damage:
    """Append a line of one list to another."""
    return lambda root: append(name, (root / source).read_text().split()[line] + "\n")(root)


ANNOTATION, PAIRS = "fasion-resize-annotation-test.csv", "fasion-resize-pairs-test.csv"
ABSENT = "0001_c1s1_000009_00.jpg"
OTHERS: list[tuple[str, str, str, Damage]] = [
    ("dress_code", "list-pairing", "100000_0.jpg", swap_lists),
    (
        "dress_code",
        "overlap",
        "100000",
        append("upper_body/train_pairs.txt", "100000_0.jpg 100000_1.jpg\n"),
    ),
    (
        "dress_code",
        "lists-disagree",
        "100000_0.jpg",
        lambda root: replace_text(root / "test_pairs_paired.txt", "\t0", "\t2"),
    ),
    ("dress_code", "densepose-encoding", "reaches 200", fill("upper_body/dense/100000_5.png", 200)),
    ("dress_code", "array-unreadable", "uv.npz", shorten("dresses/dense/500000_5_uv.npz")),
    ("dress_code", "parse-labels", "19, at most 18", fill("dresses/label_maps/500000_4.png", 19)),
    (
        "deepfashion",
        "list-keypoints",
        "line 2",
        lambda root: replace_text(root / ANNOTATION, ":[", ":[1, "),
    ),
    ("deepfashion", "list-duplicate", "fashion", append_again(PAIRS, PAIRS, 1)),
    ("deepfashion", "overlap", "fashion", append_again("train.lst", "test.lst", 0)),
    (
        "market1501",
        "list-absent",
        ABSENT,
        append("market-pairs-test.csv", f"{ABSENT},{ABSENT}\n"),
    ),
    (
        "wpose",
        "densepose-encoding",
        "round",
        lambda root: edit(next((root / "densepose").iterdir()), into_bgr),
    ),
    ("viton", "folder-missing", "", lambda root: shutil.rmtree(root / "test/pose")),
    (
        "folder",
        "unreadable",
        "",
        lambda root: next((root / "persons").iterdir()).write_bytes(b"no picture"),
    ),
]


@pytest.mark.parametrize(
    ("layout", "kind", "named", "damage"), OTHERS, ids=[f"{x[0]}-{x[1]}" for x in OTHERS]
)
def test_finds_what_other_layouts_suffer_from(
    broken: Callable[[str], Path], layout: str, kind: str, named: str, damage: Damage
) -> None:
    root = broken(layout)
    damage(root)
    report = examine(root)
    assert any(named in name for name in problem(report, kind).names)
    assert not report.clean


def test_tells_persons_from_garments_by_their_looks(tmp_path: Path) -> None:
    """Enough pictures of each, so that one in the wrong folder is unlike all the others."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(30):
        stem = f"{number:05}_00"
        lines.append(f"{stem}.jpg {(number + 1) % 30:05}_00.jpg\n")
        person = np.full((64, 48, 3), rng.integers(140, 220), np.uint8)
        person[8:, 14:34] = rng.integers(0, 200, 3)
        garment = np.full((64, 48, 3), 255, np.uint8)
        garment[20:50, 8:40] = rng.integers(0, 200, 3)
        for folder, pixels in (("image", person), ("cloth", garment)):
            (tmp_path / "test" / folder).mkdir(parents=True, exist_ok=True)
            shown = Image.fromarray(garment if folder == "image" and number == 7 else pixels)
            shown.save(tmp_path / "test" / folder / f"{stem}.jpg", quality=90 - number % 3)
    (tmp_path / LIST).write_text("".join(lines))
    replaced = tmp_path / "test/image/00007_00.jpg"
    Image.open(replaced).save(replaced, quality=60)  # other bytes than the garment's file
    found = problem(examine(tmp_path), "garment-as-person")
    assert found.names == ("00007_00.jpg",)
    stranger = np.full((64, 48, 3), 150, np.uint8)
    stranger[8:, 14:34] = (200, 30, 90)
    Image.fromarray(stranger).save(tmp_path / "test/cloth/00009_00.jpg")
    suspects = problem(examine(tmp_path), "suspect")
    assert suspects.where == "test/cloth"
    assert suspects.names == ("00009_00.jpg",)
    (tmp_path / "test/image").rename(tmp_path / "test/kept")
    (tmp_path / "test/cloth").rename(tmp_path / "test/image")
    (tmp_path / "test/kept").rename(tmp_path / "test/cloth")
    assert "folders-swapped" in kinds(examine(tmp_path))


def test_a_list_longer_than_the_official_one_is_no_official_list(
    broken: Callable[[str], Path],
) -> None:
    root = broken("viton_hd")
    (root / "synthetic.json").unlink()  # no longer a synthetic copy
    report = examine(root)
    assert "subset: 3 of 2,032" in report.to_text()
    assert problem(report, "size-unofficial").names == ("72x96, officially 768x1024",)
    lines = [f"{n:05}_00.jpg {n + 1:05}_00.jpg" for n in range(2_033)]
    (root / LIST).write_text("\n".join(lines))
    assert "2,033" in problem(examine(root), "list-longer").names[0]


def test_reads_the_release_tree_of_deepfashion(broken: Callable[[str], Path]) -> None:
    root = broken("deepfashion")
    for folder in ("train_highres", "test_highres"):
        shutil.rmtree(root / folder)
    report = examine(root)
    assert report.clean, report.to_text()
    picture = next(root.glob("*/*/id_*/*.jpg"))
    picture.write_bytes(b"")
    assert picture.name in " ".join(problem(examine(root), "empty-file").names)


def test_ten_thousand_equal_problems_are_one_line(broken: Callable[[str], Path]) -> None:
    root = broken("viton_hd")
    with (root / LIST).open("a") as file:
        file.writelines(f"{n:05}_00.jpg {A}.jpg\n" for n in range(10_000))
    lines = [line for line in examine(root).to_text().splitlines() if "list-absent" in line]
    assert len(lines) == 1
    assert "10,000, first 00000_00.jpg, 00001_00.jpg, 00002_00.jpg; add the files" in lines[0]


def test_every_kind_of_damage_has_a_test() -> None:
    tested = {entry[0] for entry in DAMAGE} | {entry[1] for entry in OTHERS}
    elsewhere = {
        *("garment-as-person", "folders-swapped", "list-longer", "files-only", "size-unofficial"),
        *("unknown-layout", "suspect"),
    }
    assert tested | elsewhere == set(KINDS)
    assert len({kind for kind in tested if not KINDS[kind].harmless}) >= 25


def test_processes_find_the_same(broken: Callable[[str], Path]) -> None:
    root = broken("viton_hd")
    fill(MASK, 0)(root)
    alone, together = (examine(root, workers=workers) for workers in (1, 2))
    assert alone.problems == together.problems
    assert alone.files == together.files


# --- real files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "dataset", "says"),
    [
        ("viton_hd_pairs", "viton_hd", "subset: 33 of 2,032"),
        ("viton_hd_densepose", "viton_hd", "a subset; officially 2,032"),
        ("viton_hd_parse_pose", "viton_hd", "a subset; officially 2,032"),
        ("deepfashion_iuv", "deepfashion_iuv", "no problems"),
        ("deepfashion_lists", "deepfashion", "a subset; officially 101,966"),
        ("ubc_fashion", "unknown", "no layout the doctor knows"),
    ],
)
def test_passes_the_real_samples(shared: Path, sample: str, dataset: str, says: str) -> None:
    report = examine(shared / "samples" / sample)
    assert report.dataset == dataset
    assert report.clean, report.to_text()
    assert says in report.to_text()


def test_finds_a_real_garment_among_real_persons(shared: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(shared / "samples/viton_hd_pairs", tmp_path / "hd"))
    stem = "00013_00"
    Image.open(root / f"test/cloth/{stem}.jpg").save(root / f"test/image/{stem}.jpg", quality=70)
    assert problem(examine(root), "garment-as-person").names == (f"{stem}.jpg",)


# --- quick check and command line -----------------------------------------------------------------


def test_the_quick_check_passes_sound_records_and_names_damage(
    broken: Callable[[str], Path],
) -> None:
    root = broken("viton_hd")
    records = VitonHD(root, "test")
    assert quick_check(records, densepose="colour") == []
    edit(root / MASK, lambda pixels: np.full_like(pixels, 128))
    Image.open(root / f"test/image/{B}.jpg").resize((30, 40)).save(root / f"test/image/{B}.jpg")
    (root / f"test/cloth/{B}.jpg").unlink()
    found = {entry.kind: entry.line for entry in quick_check(records, densepose="colour")}
    assert set(found) >= {"mask-grey", "size-mismatch", "file-missing"}
    assert str(root / "test/cloth") in found["file-missing"]
    assert "use the mask files" in found["mask-grey"]


def test_the_command_writes_json_and_a_sheet_and_says_the_rate(
    broken: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken("viton_hd")
    json_file, page = tmp_path / "out/found.json", tmp_path / "out/sheet.html"
    command = ["doctor", "auto", str(root), "--workers", "1"]
    assert main([*command, "--json", str(json_file), "--html", str(page)]) == 0
    assert "files/s" in capsys.readouterr().out
    fill(MASK, 0)(root)
    assert main([*command, "--json", str(json_file), "--html", str(page)]) == 1
    content = json.loads(json_file.read_text())
    assert not content["clean"]
    assert [entry["kind"] for entry in content["problems"]] == ["mask-empty"]
    html = page.read_text()
    assert html.count("<tr>") == 1 + 5
    assert html.count("data:image/jpeg;base64,") == 5 * 6
    assert "mask-empty" in html
    assert 'src="http' not in html
    assert {path.name for path in page.parent.iterdir()} == {"found.json", "sheet.html"}


def test_the_command_knows_every_data_set() -> None:
    assert DOCTORED == CHOICES


@pytest.mark.parametrize(
    ("dataset", "message"),
    [("auto", "does not hold a data set"), ("viton_hd", "does not hold the data set viton_hd")],
)
def test_a_wrong_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str, message: str
) -> None:
    assert main(["doctor", dataset, str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert main(["doctor", dataset, str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_damaged_archive_is_no_crash(broken: Callable[[str], Path]) -> None:
    root = broken("viton_hd")
    with zipfile.ZipFile(root / f"test/flow/{A}.npz", "w") as archive:
        archive.writestr("flow.npy", b"not an array")
    assert "array-unreadable" in kinds(examine(root))
