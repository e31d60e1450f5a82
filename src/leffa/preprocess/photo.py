"""Prepares a folder of photos for try-on: parsing, keypoints, DensePose and masks.

    ROOT/persons/anna.jpg   is given
    ROOT/parse/anna.png  keypoints/anna.json  densepose/anna.png  masks/anna.png   are made

This is the layout of `data.folder.FolderPairs`. Existing files are kept and used, so a killed run
resumes where it stopped, and maps may come from elsewhere. The settings of generated maps are noted
beside their folder (`notes`): a run that would read them differently is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

from PIL import Image

from leffa.data.batch import Record
from leffa.data.densepose import densepose_encoding
from leffa.data.keypoints import openpose_json
from leffa.data.labels import LABELS, LabelSet
from leffa.data.layout import check_choice
from leffa.io.atomic import replacing, write_text
from leffa.io.folders import files_by_name, normal, pictures_in
from leffa.io.pictures import open_mask, open_photograph
from leffa.preprocess.agnostic import AGNOSTIC
from leffa.preprocess.agnostic.from_files import mask_from_files
from leffa.preprocess.densepose import DensePoseEstimator
from leffa.preprocess.densepose.files import write_surface
from leffa.preprocess.notes import agreed_note, write_note
from leffa.preprocess.parsing import PersonParser
from leffa.preprocess.pose import PoseEstimator

_SUFFIXES = {"parse": ".png", "keypoints": ".json", "densepose": ".png", "masks": ".png"}


@dataclass(frozen=True)
class Tools:
    """What photos are prepared with; None leaves a map out, or uses the file that is there.

    Args:
        label_set: of parse files that are there already; None: as noted, else the parser's, else
            "cihp". Those that are made have the parser's.
        encoding: of DensePose files (`data.densepose.ENCODINGS`); None: as noted, else "colour".
        recipe: of the masks, a name of `preprocess.agnostic.AGNOSTIC`.
        category: "upper_body", "lower_body" or "dresses": the garment to replace.
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


class _Maps(NamedTuple):
    """The folders of maps below a root, and what their files hold."""

    root: Path
    label_set: LabelSet
    encoding: str
    present: dict[str, dict[str, Path]]  # by folder and name, when the run began

    def path(self, kind: str, photo: Path) -> Path:
        """The file that is there for a photo, else where it is to be made."""
        made = self.root / kind / f"{photo.stem}{_SUFFIXES[kind]}"
        return self.present[kind].get(normal(photo.stem), made)


def prepare_photos(
    root: Path, tools: Tools, progress: Callable[[int, int], None] | None = None
) -> Prepared:
    """Prepare every photo of `root/persons`; one that cannot be prepared does not stop the rest.

    Raises:
        FileNotFoundError: there are no photos.
        ValueError: two photos have one name, or earlier runs made maps that are at odds with the
            tools.
    """
    photos = list(pictures_in(root / "persons").values())
    result = Prepared()
    maps = _settle(root, photos, tools)
    for done, photo in enumerate(photos):
        if progress is not None:
            progress(done, len(photos))
        try:
            _prepare(photo, tools, maps, result.written)
        except ValueError as error:
            result.failed[photo] = str(error)
    if progress is not None:
        progress(len(photos), len(photos))
    return result


def prepare_photo(photo: Path, root: Path, tools: Tools) -> None:
    """Prepare one photo below `root`.

    Raises:
        ValueError: a map cannot be made, for example because nobody was found; or earlier
            runs made maps that are at odds with the tools.
    """
    _prepare(photo, tools, _settle(root, [photo], tools), [])


def _settle(root: Path, photos: Sequence[Path], tools: Tools) -> _Maps:
    """What the maps hold by the options, the notes, the tools; what will be made is noted."""
    present = {kind: files_by_name(root / kind) for kind in ("parse", "densepose", "masks")}
    present["keypoints"] = files_by_name(root / "keypoints", (".json",))

    def lacks(kind: str) -> bool:
        return any(normal(photo.stem) not in present[kind] for photo in photos)

    parse, densepose, masks = (root / kind for kind in ("parse", "densepose", "masks"))
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
    return _Maps(root, cast(LabelSet, label_set), encoding, present)


def _prepare(photo: Path, tools: Tools, maps: _Maps, written: list[Path]) -> None:
    """Make what a photo lacks, and add the files to `written`."""
    image = open_photograph(photo)
    paths = {kind: maps.path(kind, photo) for kind in _SUFFIXES}
    if tools.parser is not None and not (path := paths["parse"]).is_file():
        written.append(_save(Image.fromarray(tools.parser.parse(image)), path))
    if tools.pose is not None and not (path := paths["keypoints"]).is_file():
        write_text(path, openpose_json(tools.pose.find_pose(image)))
        written.append(path)
    if tools.densepose is not None and not (path := paths["densepose"]).is_file():
        written += write_surface(tools.densepose.find_surface(image), path, maps.encoding)
    if tools.recipe is None:
        return
    mask = paths.pop("masks")
    if mask.is_file():
        open_mask(mask)
    elif not paths["parse"].is_file():
        raise ValueError(
            f"{photo}: recipe {tools.recipe} needs a parsing; choose a parser, or give "
            f"{paths['parse']}"
        )
    else:
        # Made maps are read back, since files round: a resumed run makes the same mask.
        there = {kind: path for kind, path in paths.items() if path.is_file()}
        record = Record(photo.stem, tools.category, photo, photo, **there)
        made = mask_from_files(
            record, tools.recipe, maps.label_set, maps.encoding, photograph=lambda _: image
        )
        written.append(_save(made, mask))


def _save(picture: Image.Image, path: Path) -> Path:
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")
    return path
