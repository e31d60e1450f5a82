"""A folder of photos made ready for try-on: parsing, keypoints, DensePose and masks.

    ROOT/persons/anna.jpg   is given
    ROOT/parse/anna.png  keypoints/anna.json  densepose/anna.png  masks/anna.png   are made

This is the layout of `data.folder.FolderPairs`. What is there already is kept and used, so a killed
run goes on where it was, and maps may come from elsewhere. What made ones hold is noted beside
their folder (`notes`): a run that would read them otherwise is refused.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.densepose import densepose_encoding
from leffa.data.keypoints import read_keypoints
from leffa.data.labels import LABELS, LabelSet
from leffa.data.layout import check_choice
from leffa.data.recipe import PersonMaps, agnostic_mask
from leffa.io.atomic import replacing, write_text
from leffa.io.folders import files_by_name, normal, pictures_in
from leffa.io.pictures import open_labels, open_mask, open_photograph
from leffa.preprocess.agnostic import AGNOSTIC
from leffa.preprocess.densepose import DensePoseEstimator
from leffa.preprocess.densepose.files import write_surface
from leffa.preprocess.notes import agreed_note, write_note
from leffa.preprocess.parsing import PersonParser
from leffa.preprocess.pose import PoseEstimator

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Tools:
    """What photos are prepared with; None leaves a map out, or uses the file that is there.

    Args:
        label_set: of parse files that are there already; None: as noted, else the parser's, else
            "cihp". Those that are made have the parser's.
        encoding: of DensePose files (`data.densepose.ENCODINGS`); None: as noted, else "colour".
        recipe: of the masks, a name of `preprocess.agnostic.AGNOSTIC`.
        category: "upper_body", "lower_body" or "dresses": what is to be exchanged.
    """

    parser: PersonParser | None = None
    pose: PoseEstimator | None = None
    densepose: DensePoseEstimator | None = None
    label_set: LabelSet | None = None
    encoding: str | None = None
    recipe: str | None = None
    category: str = "upper_body"

    def __post_init__(self) -> None:
        if self.label_set is not None:
            check_choice("label_set", self.label_set, LABELS)
        if self.encoding is not None:
            densepose_encoding(self.encoding)
        if self.recipe is not None:
            check_choice("recipe", self.recipe, AGNOSTIC)


@dataclass
class Prepared:
    """What came of a folder."""

    written: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)  # photo -> why


class _Held(NamedTuple):
    """What the files of a folder hold."""

    label_set: LabelSet
    encoding: str
    files: dict[str, dict[str, Path]]  # by folder and name: what was there at the start
    root: Path

    def place(self, folder: str, photo: Path) -> Path:
        """The file that is there for a photo, else where it is to be made."""
        suffix = ".json" if folder == "keypoints" else ".png"
        made = self.root / folder / f"{photo.stem}{suffix}"
        return self.files[folder].get(normal(photo.stem), made)


def prepare_photos(root: Path, tools: Tools, progress: Progress | None = None) -> Prepared:
    """Prepare every photo of `root/persons`; one that cannot be prepared does not stop the rest.

    Raises:
        FileNotFoundError: there are no photos.
        ValueError: two photos have one name, or earlier runs made maps that are at odds with the
            tools.
    """
    photos = list(pictures_in(root / "persons").values())
    result = Prepared()
    held = _settle(root, photos, tools)
    for done, photo in enumerate(photos):
        if progress is not None:
            progress(done, len(photos))
        try:
            _prepare(photo, tools, held, result.written)
        except ValueError as error:
            result.failed[photo] = str(error)
    if progress is not None:
        progress(len(photos), len(photos))
    return result


def prepare_photo(photo: Path, root: Path, tools: Tools, written: list[Path]) -> None:
    """Prepare one photo below `root`; the files that are made are added to `written`.

    Raises:
        ValueError: a map cannot be made, for example because nobody is in the photo; or earlier
            runs made maps that are at odds with the tools.
    """
    _prepare(photo, tools, _settle(root, [photo], tools), written)


def _settle(root: Path, photos: Sequence[Path], tools: Tools) -> _Held:
    """What the maps hold by the options, the notes, the tools; what will be made is noted."""

    files = {folder: files_by_name(root / folder) for folder in ("parse", "densepose", "masks")}
    files["keypoints"] = files_by_name(root / "keypoints", (".json",))

    def lacks(folder: str) -> bool:
        return any(normal(photo.stem) not in files[folder] for photo in photos)

    parse, densepose, masks = (root / folder for folder in ("parse", "densepose", "masks"))
    given = tools.parser.label_set if tools.parser is not None else None
    noted = agreed_note(parse, label_set=tools.label_set).get("label_set")
    label_set = tools.label_set or noted or given or "cihp"
    check_choice("label_set", label_set, LABELS)
    if given is not None and lacks("parse"):
        if given != label_set:
            raise ValueError(
                f"{parse}: is to hold {label_set} labels, and the parser gives {given}; a folder "
                "holds one set: use the parser of the others, or rename or delete the folder"
            )
        write_note(parse, label_set=given)
    noted = agreed_note(densepose, encoding=tools.encoding).get("encoding")
    encoding = tools.encoding or noted or "colour"
    if tools.densepose is not None and lacks("densepose"):
        write_note(densepose, encoding=encoding)
    if tools.recipe is not None:
        made = {"recipe": tools.recipe, "category": tools.category, "label_set": label_set}
        agreed_note(masks, **made)
        if lacks("masks"):
            write_note(masks, **made)
    return _Held(cast(LabelSet, label_set), encoding, files, root)


def _prepare(photo: Path, tools: Tools, held: _Held, written: list[Path]) -> None:
    image = open_photograph(photo)
    parse = _parse(image, held.place("parse", photo), tools, written)
    joints = _joints(image, parse, held.place("keypoints", photo), tools, written)
    parts = _parts(image, held.place("densepose", photo), tools, held.encoding, written)
    mask_file = held.place("masks", photo)
    if tools.recipe is None:
        return
    if mask_file.is_file():
        open_mask(mask_file)
        return
    if parse is None:
        raise ValueError(
            f"{photo}: recipe {tools.recipe} needs a parsing; choose a parser, or give "
            f"{held.place('parse', photo)}"
        )
    maps = PersonMaps(parse, joints, tools.category, held.label_set, parts)
    try:
        mask = agnostic_mask(AGNOSTIC[tools.recipe], maps)
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
) -> NDArray[np.uint8] | None:
    if path.is_file():
        labels = open_labels(path)
        _check_size(labels, path, image)
        return np.asarray(labels)
    if tools.parser is None:
        return None
    labels_made = tools.parser.parse(image).labels
    written.append(_save(Image.fromarray(labels_made), path))
    return labels_made


def _joints(
    image: Image.Image,
    parse: NDArray[np.uint8] | None,
    path: Path,
    tools: Tools,
    written: list[Path],
) -> NDArray[np.float32] | None:
    if not path.is_file():
        if tools.pose is None:
            return None
        joints = tools.pose.find_pose(image)
        write_text(path, openpose_json(joints))
        written.append(path)
    # Read back, since the file rounds: a run that goes on makes the same mask.
    body = None if parse is None else lambda: parse > 0
    return read_keypoints(path, image.size, body) * np.array((*image.size, 1), np.float32)


def _parts(
    image: Image.Image, path: Path, tools: Tools, encoded: str, written: list[Path]
) -> NDArray[np.uint8] | None:
    encoding = densepose_encoding(encoded)
    if path.is_file():
        picture = encoding.read(path)
        _check_size(picture, path, image)
        return encoding.parts(np.asarray(picture))
    if tools.densepose is None:
        return None
    surface = tools.densepose.find_surface(image)
    written += write_surface(surface, path, encoded)
    return surface[..., 0]


def _check_size(picture: Image.Image, path: Path, image: Image.Image) -> None:
    if picture.size != image.size:
        raise ValueError(
            f"{path}: is {picture.width}x{picture.height}, the photo {image.width}x{image.height}; "
            "delete it to have it made anew"
        )


def _save(picture: Image.Image, path: Path) -> Path:
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")
    return path
