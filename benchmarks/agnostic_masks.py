"""The mask recipes beside the mask files of VITON-HD, as numbers and as a picture.

    python benchmarks/agnostic_masks.py ROOT [--out outputs/agnostic_masks]

ROOT holds one or more folders in the layout of VITON-HD's `test/`. A person with a parse and
keypoints gets the mask of every recipe, and its overlap with the mask file where there is one.

A person with a mask file and DensePose, but no parse or keypoints, answers another question: are
there joints with which the recipe draws this mask? They are guessed from the parts of DensePose and
then moved, one at a time, to where the masks overlap most. What follows from the parse that is not
there is not judged: where DensePose sees head or legs, and where it sees the body and the mask file
leaves something out (hair, hands, trousers). So this compares outlines, not labels.

Pictures of data sets that may not be passed on stay in the output folder.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from leffa.data.densepose import ColourDensePose
from leffa.data.keypoints import BODY_25, read_keypoints
from leffa.data.recipe import PersonMaps
from leffa.io.atomic import write_json
from leffa.io.pictures import open_labels, open_mask, open_picture
from leffa.preprocess.agnostic import AGNOSTIC
from leffa.preprocess.agnostic.shapes import dilate, erode

Mask = NDArray[np.bool_]

SHOWN_HEIGHT = 384
RECIPES = ("hr_viton", "viton_hd", "ladi_vton", "ootdiffusion", "leffa_hd", "leffa_hd_clean")

# The DensePose parts of each CIHP label that the recipes ask for.
LABELS = {13: (23, 24), 14: (4, 15, 17, 19, 21), 15: (3, 16, 18, 20, 22)}
LABELS |= {16: (8, 10, 12, 14), 17: (7, 9, 11, 13), 18: (5, 6)}
TORSO = (1, 2)
LABELS_OF_THE_PARSE = (*range(5, 15), 23, 24)
# Shoulder, elbow and wrist in BODY_25, and the parts of upper arm, forearm and hand.
ARMS = (((2, 3, 4), (16, 18), (20, 22), (3,)), ((5, 6, 7), (15, 17), (19, 21), (4,)))
FITTED = ("hr_viton", "viton_hd", "ladi_vton")
FIT_HEIGHT = 256
STEPS = (16, 8, 4, 2, 1)  # pixels of a picture FIT_HEIGHT high
ROUNDS = 3


@dataclass(frozen=True)
class Person:
    """One person of the data set."""

    name: str
    picture: Image.Image
    maps: PersonMaps
    mask: Mask | None  # of the data set
    estimated: bool  # parse and keypoints come from DensePose


def find_persons(root: Path) -> Iterator[Person]:
    """Everybody below the root that a mask can be made for."""
    for path in sorted(root.rglob("image/*.jpg")):
        split, stem = path.parent.parent, path.stem
        picture = open_picture(path)
        mask_file = split / "agnostic-mask" / f"{stem}_mask.png"
        mask = np.asarray(open_mask(mask_file)) >= 128 if mask_file.exists() else None
        maps = read_maps(split, stem, picture.size)
        if maps is not None:
            yield Person(stem, picture, maps, mask, estimated=False)
            continue
        colours = split / "image-densepose" / f"{stem}.jpg"
        if mask is not None and colours.exists():
            parts = ColourDensePose().parts(np.asarray(open_picture(colours)))
            yield Person(stem, picture, estimate(parts), mask, estimated=True)


def read_maps(split: Path, stem: str, size: tuple[int, int]) -> PersonMaps | None:
    """The parse and keypoints of the data set, where it has both."""
    parses = [split / folder / f"{stem}.png" for folder in ("image-parse-v3", "image-parse")]
    poses = [
        split / folder / f"{stem}_keypoints.json" for folder in ("openpose_json", "openpose-json")
    ]
    parse = next((path for path in parses if path.exists()), None)
    pose = next((path for path in poses if path.exists()), None)
    if parse is None or pose is None:
        return None
    labels = np.asarray(open_labels(parse))
    joints = read_keypoints(pose, size, lambda: labels > 0) * np.array((*size, 1), np.float32)
    return PersonMaps(labels, joints)


def estimate(parts: NDArray[np.uint8]) -> PersonMaps:
    """Labels and first guesses of the joints from the parts of DensePose."""
    parse = np.zeros_like(parts)
    for label, own in LABELS.items():
        where = np.isin(parts, own)
        parse[dilate(erode(where, 3), 3) & where] = label
    joints = np.zeros((BODY_25, 3), np.float32)
    torso = middle(parts, TORSO)
    for (shoulder, elbow, wrist), upper, lower, hand in ARMS:
        joints[elbow, :2] = middle(parts, lower if pixels_of(parts, upper).size == 0 else upper)
        joints[shoulder, :2] = (joints[elbow, :2] + torso) / 2
        joints[wrist, :2] = middle(parts, hand if pixels_of(parts, hand).size else lower)
    joints[[2, 3, 4, 5, 6, 7], 2] = 1
    joints[1] = (*joints[[2, 5], :2].mean(axis=0), 1)
    bottom = np.percentile(pixels_of(parts, TORSO)[:, 1], 98)
    for hip, shoulder in ((9, 2), (12, 5)):
        joints[hip] = (joints[shoulder, 0], bottom, 1)
    return PersonMaps(parse, joints, densepose=parts)


def pixels_of(parts: NDArray[np.uint8], wanted: tuple[int, ...]) -> NDArray[np.int64]:
    """(N, 2) x, y of a part, without the lines that JPEG noise makes of it elsewhere."""
    where = np.isin(parts, wanted)
    rows, columns = np.nonzero(dilate(erode(where, 2), 2) & where)
    return np.stack([columns, rows], axis=1)


def middle(parts: NDArray[np.uint8], wanted: tuple[int, ...]) -> NDArray[np.float64]:
    """x, y in the middle of a part, or of the picture where the part is not seen."""
    pixels = pixels_of(parts, wanted)
    if pixels.size == 0:
        return np.array(parts.shape[::-1]) / 2
    return np.median(pixels, axis=0)


def shrink(person: Person) -> tuple[PersonMaps, Mask]:
    """Maps and mask at the height at which joints are fitted."""
    assert person.mask is not None
    height, width = person.mask.shape
    size = (round(width * FIT_HEIGHT / height), FIT_HEIGHT)
    parse, parts, mask = (
        np.asarray(Image.fromarray(each).resize(size, Image.Resampling.NEAREST))
        for each in (person.maps.parse, person.maps.densepose, person.mask)
    )
    scale = np.array((size[0] / width, FIT_HEIGHT / height, 1), np.float32)
    maps = PersonMaps(parse, person.maps.keypoints * scale, densepose=parts)
    return maps, mask


def fit_joints(person: Person, name: str) -> tuple[PersonMaps, Mask, float]:
    """The joints at which a recipe overlaps most with the mask file; its mask, and that overlap."""
    maps, truth = shrink(person)
    judged = (truth | (maps.densepose == 0)) & ~np.isin(maps.densepose, LABELS_OF_THE_PARSE)
    truth = truth & judged

    def score(joints: NDArray[np.float32]) -> float:
        return overlap(AGNOSTIC[name](replace(maps, keypoints=joints)) & judged, truth)

    joints = maps.keypoints.copy()
    best = score(joints)
    for step in STEPS * ROUNDS:
        for joint, axis, sign in product((1, 2, 3, 4, 5, 6, 7, 9, 12), (0, 1), (-step, step)):
            moved = joints.copy()
            moved[joint, axis] += sign
            if (better := score(moved)) > best:
                joints, best = moved, better
    fitted = replace(maps, keypoints=joints)
    return fitted, AGNOSTIC[name](fitted) & judged, best


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())


def measure(person: Person, name: str, mask: Mask) -> dict[str, object]:
    """What can be said about one mask."""
    row: dict[str, object] = {
        "person": person.name,
        "recipe": name,
        "covers": round(float(mask.mean()), 3),
    }
    if person.mask is not None:
        row["iou"] = round(overlap(mask, person.mask), 3)
        row["of_mask_covered"] = round(float(mask[person.mask].mean()), 3)
    worn, face = person.maps.shows("upper", "coat", "dress"), person.maps.shows("face")
    row["garment_covered"] = round(float(mask[worn].mean()), 4)
    row["face_covered"] = round(float(mask[face].mean()), 4)
    return row


def panel(person: Person, mask: Mask, title: str) -> Image.Image:
    """The picture with the mask in red; where the data set's mask differs, in blue and green.

    Blue is what only the data set's mask covers, green what only the recipe's does.
    """
    pixels = np.asarray(person.picture).astype(np.float32)
    truth = mask if person.mask is None else person.mask
    for where, colour in (
        (mask & truth, (255, 60, 60)),
        (truth & ~mask, (60, 60, 255)),
        (mask & ~truth, (40, 220, 60)),
    ):
        pixels[where] = 0.5 * pixels[where] + 0.5 * np.array(colour)
    size = (round(mask.shape[1] * SHOWN_HEIGHT / mask.shape[0]), SHOWN_HEIGHT)
    shown = Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    ImageDraw.Draw(shown).text((6, 6), title, fill="black", stroke_width=2, stroke_fill="white")
    return shown


def fitted_row(person: Person) -> tuple[list[dict[str, object]], list[Image.Image]]:
    """Numbers and pictures of a person whose joints are fitted."""
    rows: list[dict[str, object]] = []
    panels = []
    for name in FITTED:
        maps, mask, best = fit_joints(person, name)
        rows.append({"person": person.name, "recipe": name, "fitted_iou": round(best, 3)})
        size = mask.shape[::-1]
        small = Person(person.name, person.picture.resize(size), maps, shrink(person)[1], True)
        panels.append(panel(small, mask, f"{person.name} {name} fitted {best:.3f}"))
    return rows, panels


def row_of(person: Person) -> tuple[list[dict[str, object]], list[Image.Image]]:
    """Numbers and pictures of a person with parse and keypoints."""
    rows: list[dict[str, object]] = []
    panels = []
    for name in RECIPES:
        mask = AGNOSTIC[name](person.maps)
        rows.append(measure(person, name, mask))
        iou = f" IoU {rows[-1]['iou']}" if "iou" in rows[-1] else ""
        panels.append(panel(person, mask, f"{person.name} {name}{iou}"))
    return rows, panels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("outputs/agnostic_masks"))
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    shown: list[list[Image.Image]] = []
    for person in find_persons(options.root):
        numbers, panels = fitted_row(person) if person.estimated else row_of(person)
        for row in numbers:
            print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        rows += numbers
        shown.append(panels)
    if not rows:
        raise SystemExit(f"error: {options.root}: holds no person with maps to make a mask from")
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "agnostic_masks.json", rows, indent=1)
    width = max(image.width for panels in shown for image in panels)
    columns = max(len(panels) for panels in shown)
    sheet = Image.new("RGB", (columns * width, len(shown) * SHOWN_HEIGHT), "white")
    for line, panels in enumerate(shown):
        for column, image in enumerate(panels):
            sheet.paste(image, (column * width, line * SHOWN_HEIGHT))
    sheet.save(options.out / "agnostic_masks.png")


if __name__ == "__main__":
    main()
