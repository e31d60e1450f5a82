"""What is done to a sound data set, and the kind and name under which the doctor must find it.

Each entry: the kind that must be named, the file or line it must name, and how to do it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.data.doctor.report import Problem, Report

A, B = "50000_00", "50001_00"  # two test persons
LAYOUTS = ("viton_hd", "dress_code", "viton", "deepfashion", "market1501", "wpose", "folder")
MASK = f"test/agnostic-mask/{A}_mask.png"
POSE = f"test/openpose_json/{A}_keypoints.json"
LIST = "test_pairs.txt"

Damage = Callable[[Path], object]


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


def shorten(name: str, part: float = 0.5) -> Damage:
    return lambda root: (root / name).write_bytes(
        (root / name).read_bytes()[: int((root / name).stat().st_size * part)]
    )


def convert(name: str, mode: str) -> Damage:
    return lambda root: Image.open(root / name).convert(mode).save(root / name)


def saved_anew(root: Path) -> None:
    with Image.open(root / "train/cloth/00001_00.jpg") as image:
        image.save(root / f"test/cloth/{A}.jpg", quality=70)


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


def punch(root: Path) -> None:
    image = Image.open(root / f"test/image/{A}.jpg").convert("RGBA")
    image.putpixel((3, 3), (0, 0, 0, 0))
    image.save(root / f"test/image/{A}.jpg", format="PNG")


def cut_out_mask(root: Path) -> None:
    mask = Image.open(root / MASK).convert("L")
    mask.save(root / MASK, transparency=0)


def two_colours(pixels: np.ndarray) -> np.ndarray:
    return np.where(np.indices(pixels.shape)[0] // 8 % 2, 8, 240)


def sixteen_bit(root: Path) -> None:
    pixels = np.arange(96 * 72, dtype=np.uint16).reshape(96, 72)
    Image.fromarray(pixels).save(root / f"test/image/{A}.jpg", format="PNG")


def link_to_nowhere(root: Path) -> None:
    path = root / f"test/image/{A}.jpg"
    path.unlink()
    try:
        path.symlink_to(root / "gone.jpg")
    except OSError:  # Windows asks for a right of its own
        pytest.skip("no symbolic links here")


def png_named_jpg(root: Path) -> None:
    Image.open(root / f"test/image/{A}.jpg").save(root / f"test/image/{A}.jpg", format="PNG")


def swap_lists(root: Path) -> None:
    folder = root / "upper_body"
    paired, unpaired = folder / "test_pairs_paired.txt", folder / "test_pairs_unpaired.txt"
    first, second = paired.read_text(), unpaired.read_text()
    paired.write_text(second)
    unpaired.write_text(first)


def drop_array(root: Path) -> None:
    np.savez(root / f"test/flow/{A}.npz", flow=np.zeros((96, 72, 2)))


def stretched_pose(across: float, down: float, name: str = POSE) -> Damage:
    def damage(root: Path) -> None:
        content = json.loads((root / name).read_text())
        values = np.array(content["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
        values[:, :2] *= across, down
        content["people"][0]["pose_keypoints_2d"] = values.ravel().tolist()
        (root / name).write_text(json.dumps(content))

    return damage


def passer_by(root: Path) -> None:
    """Somebody small in a corner, who is first in the file."""
    whole = json.loads((root / POSE).read_text())
    stretched_pose(0.1, 0.1)(root)
    small = json.loads((root / POSE).read_text())
    people = [*small["people"], *whole["people"]]
    (root / POSE).write_text(json.dumps(whole | {"people": people}))


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


def append_again(name: str, source: str, line: int) -> Damage:
    """Append a line of one list to another."""
    return lambda root: append(name, (root / source).read_text().split()[line] + "\n")(root)


DAMAGE: list[tuple[str, str, Damage]] = [
    # lists
    ("list-missing", "", remove(LIST)),
    ("list-empty", "", write(LIST, "\n\n")),
    ("list-encoding", "0xe9 in line 1", write(LIST, "é.jpg 50001_00.jpg\n".encode("latin-1"))),
    ("list-columns", "line 4", append(LIST, "50000_00.jpg\n")),
    ("list-columns", "000006_00.png", append(LIST, "000006_00.png 50001_00.jpg\n")),
    ("list-duplicate", A, append(LIST, f"{A}.jpg {B}.jpg\n")),
    ("list-absent", "99999_00.jpg", append(LIST, f"99999_00.jpg {B}.jpg\n")),
    ("list-pairing", A, write(LIST, f"{A}.jpg {A}.jpg\n{B}.jpg {B}.jpg\n")),
    # names
    ("file-missing", f"{A}.jpg", remove(f"test/image-densepose/{A}.jpg")),
    ("folder-missing", "", lambda r: shutil.rmtree(r / "test/cloth")),
    ("optional-absent", "", lambda r: shutil.rmtree(r / "test/image-densepose")),
    ("split-absent", "", lambda r: (shutil.rmtree(r / "train"), remove("train_pairs.txt")(r))),
    ("link-broken", f"{A}.jpg", link_to_nowhere),
    ("extra-file", "12345_00.jpg", copy(f"test/cloth/{A}.jpg", "test/cloth/12345_00.jpg")),
    ("extra-folder", "", lambda r: (r / "test/results").mkdir()),
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
    ("transparent", f"{A}.jpg", punch),
    ("transparent", f"{A}_mask.png", cut_out_mask),
    ("few-colours", f"{A}.jpg", lambda r: edit(r / f"test/image/{A}.jpg", two_colours)),
    ("blank", f"{A}.jpg", fill(f"test/image/{A}.jpg", 200)),
    ("size-mismatch", "36x48, photograph 72x96", resize(MASK, (36, 48))),
    ("size-odd", "72x90, others 72x96", resize(f"test/image/{A}.jpg", (72, 90))),
    ("person-as-garment", f"image/{A}.jpg", copy(f"test/image/{A}.jpg", f"test/cloth/{A}.jpg")),
    ("same-picture", f"{B}.jpg", copy(f"test/image/{A}.jpg", f"test/image/{B}.jpg")),
    ("train-in-test", f"{A}.jpg", copy("train/image/00000_00.jpg", f"test/image/{A}.jpg")),
    ("train-in-test", f"{A}.jpg (is train/cloth/00001_00.jpg)", saved_anew),
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
    ("densepose-encoding", "reverse", lambda r: edit(r / f"test/image-iuv/{A}.png", into_bgr)),
    ("parse-labels", "20, at most 19", fill(f"test/image-parse-v3/{A}.png", 20)),
    ("parse-labels", "RGB image", convert(f"test/image-parse-v3/{A}.png", "RGB")),
    (
        "parse-labels",
        "stored as JPEG",
        lambda r: Image.new("L", (72, 96), 5).save(r / f"test/image-parse-v3/{A}.png", "JPEG"),
    ),
    ("parse-empty", f"{A}.png", fill(f"test/image-parse-v3/{A}.png", 0)),
    # poses and arrays
    ("pose-unreadable", A, shorten(POSE)),
    ("pose-unreadable", "no OpenPose", write(POSE, "{}")),
    ("pose-nobody", A, write(POSE, '{"people": []}')),
    ("pose-nobody", A, write(POSE, json.dumps({"people": [{"pose_keypoints_2d": [0] * 75}]}))),
    ("pose-outside", A, stretched_pose(8, 8)),  # found in a picture of 768x1024
    ("pose-elsewhere", A, stretched_pose(0.25, 0.25)),
    ("pose-elsewhere", A, stretched_pose(0.75, 0.75)),
    ("pose-several", "2 persons", passer_by),
    ("pose-fractions", A, stretched_pose(1 / 72, 1 / 96)),
    ("array-unreadable", f"{A}.npz", shorten(f"test/flow/{A}.npz")),
    ("array-content", "no array valid", drop_array),
]

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
    ("market1501", "list-absent", ABSENT, append("market-pairs-test.csv", f"{ABSENT},{ABSENT}\n")),
    (
        "wpose",
        "densepose-encoding",
        "reverse",
        lambda root: edit(next((root / "densepose").iterdir()), into_bgr),
    ),
    ("viton", "folder-missing", "", lambda root: shutil.rmtree(root / "test/pose")),
    ("folder", "pose-outside", "000000", stretched_pose(10, 10, "keypoints/000000.json")),
    (
        "folder",
        "unreadable",
        "",
        lambda root: next((root / "persons").iterdir()).write_bytes(b"no picture"),
    ),
]
