"""A folder of photos made ready for try-on: parsing, keypoints, DensePose and masks.

    ROOT/persons/anna.jpg   is given
    ROOT/parse/anna.png  keypoints/anna.json  densepose/anna.png  masks/anna.png   are made

This is the layout of `data.folder.FolderPairs`. What is there already is kept and used, so a killed
run goes on where it was, and maps may come from elsewhere.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.densepose import densepose_encoding
from leffa.data.images import open_labels, open_mask, open_picture
from leffa.data.keypoints import read_keypoints
from leffa.data.labels import LabelSet
from leffa.data.recipe import PersonMaps
from leffa.preprocess.agnostic import AGNOSTIC
from leffa.preprocess.densepose import DensePoseEstimator
from leffa.preprocess.densepose.files import write_surface
from leffa.preprocess.parsing import PersonParser
from leffa.preprocess.pose import PoseEstimator

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Tools:
    """What photos are prepared with; None leaves a map out, or uses the file that is there.

    Args:
        label_set: of parse files that are there already; those that are made have the parser's.
        encoding: of DensePose files (`data.densepose.ENCODINGS`).
        recipe: of the masks, a name of `preprocess.agnostic.AGNOSTIC`.
        category: "upper_body", "lower_body" or "dresses": what is to be exchanged.
    """

    parser: PersonParser | None = None
    pose: PoseEstimator | None = None
    densepose: DensePoseEstimator | None = None
    label_set: LabelSet = "cihp"
    encoding: str = "colour"
    recipe: str | None = None
    category: str = "upper_body"

    def __post_init__(self) -> None:
        densepose_encoding(self.encoding)
        if self.recipe is not None and self.recipe not in AGNOSTIC:
            raise ValueError(f"recipe={self.recipe}: choose one of {', '.join(AGNOSTIC)}")


@dataclass
class Prepared:
    """What came of a folder."""

    written: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)  # photo -> why


def prepare_photos(root: Path, tools: Tools, progress: Progress | None = None) -> Prepared:
    """Prepare every photo of `root/persons`; one that cannot be prepared does not stop the rest.

    Raises:
        FileNotFoundError: there are no photos.
    """
    persons = root / "persons"
    photos = sorted(path for path in _files(persons) if path.suffix.lower() in _PICTURES)
    if not photos:
        raise FileNotFoundError(f"{persons}: no pictures ({', '.join(_PICTURES)}); put them there")
    result = Prepared()
    for done, photo in enumerate(photos):
        if progress is not None:
            progress(done, len(photos))
        try:
            prepare_photo(photo, root, tools, result.written)
        except ValueError as error:
            result.failed[photo] = str(error)
    if progress is not None:
        progress(len(photos), len(photos))
    return result


def prepare_photo(photo: Path, root: Path, tools: Tools, written: list[Path]) -> None:
    """Prepare one photo below `root`; the files that are made are added to `written`.

    Raises:
        ValueError: a map cannot be made, for example because nobody is in the photo.
    """
    image = open_picture(photo)
    parse, label_set = _parse(image, root / "parse" / f"{photo.stem}.png", tools, written)
    joints = _joints(image, root / "keypoints" / f"{photo.stem}.json", tools, written)
    parts = _parts(image, root / "densepose" / f"{photo.stem}.png", tools, written)
    mask_file = root / "masks" / f"{photo.stem}.png"
    if tools.recipe is None:
        return
    if mask_file.is_file():
        open_mask(mask_file)
        return
    if parse is None:
        raise ValueError(
            f"{photo}: recipe {tools.recipe} needs a parsing; choose a parser, or give "
            f"{root / 'parse' / photo.stem}.png"
        )
    maps = PersonMaps(parse, joints, tools.category, label_set, parts)
    try:
        mask = AGNOSTIC[tools.recipe](maps)
    except ValueError as error:
        raise ValueError(f"{photo}: {error}") from error
    written.append(_save(Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))), mask_file))


def openpose_json(joints: NDArray[np.float32]) -> str:
    """BODY_25 joints (25, 3) in pixels as a file of OpenPose 1.3 with one person."""
    values = [round(float(value), 3) for value in joints.ravel()]
    person = {"person_id": [-1], "pose_keypoints_2d": values}
    empty: dict[str, list[float]] = {
        f"{part}_keypoints_2d": [] for part in ("face", "hand_left", "hand_right")
    }
    return json.dumps({"version": 1.3, "people": [person | empty]})


def _parse(
    image: Image.Image, path: Path, tools: Tools, written: list[Path]
) -> tuple[NDArray[np.uint8] | None, LabelSet]:
    if path.is_file():
        labels = open_labels(path)
        _check_size(labels, path, image)
        return np.asarray(labels), tools.label_set
    if tools.parser is None:
        return None, tools.label_set
    parsing = tools.parser.parse(image)
    written.append(_save(Image.fromarray(parsing.labels), path))
    return parsing.labels, parsing.label_set


def _joints(
    image: Image.Image, path: Path, tools: Tools, written: list[Path]
) -> NDArray[np.float32] | None:
    if path.is_file():
        return read_keypoints(path, image.size) * np.array((*image.size, 1), np.float32)
    if tools.pose is None:
        return None
    joints = tools.pose.find_pose(image)
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(openpose_json(joints))
    written.append(unfinished.replace(path))
    return joints


def _parts(
    image: Image.Image, path: Path, tools: Tools, written: list[Path]
) -> NDArray[np.uint8] | None:
    encoding = densepose_encoding(tools.encoding)
    if path.is_file():
        picture = encoding.read(path)
        _check_size(picture, path, image)
        return encoding.parts(np.asarray(picture))
    if tools.densepose is None:
        return None
    surface = tools.densepose.find_surface(image)
    path.parent.mkdir(exist_ok=True)
    written += write_surface(surface, path, tools.encoding)
    return surface[..., 0]


def _check_size(picture: Image.Image, path: Path, image: Image.Image) -> None:
    if picture.size != image.size:
        raise ValueError(
            f"{path}: is {picture.width}x{picture.height}, the photo {image.width}x{image.height}; "
            "delete it to have it made anew"
        )


def _save(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    picture.save(unfinished, "PNG")
    return unfinished.replace(path)


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
