"""The samples of a synthetic dataset: which files its spec asks for, and what is in them.

The paths of a sample are known before it is rendered, so a complete sample is not rendered again.
The number in a file's name is the index that it is rendered from.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from leffa.data.catalog import CATALOG
from leffa.data.catalog.spec import TREE, DatasetSpec, GroupSpec, SyntheticSpec, unpaired_name
from leffa.data.inshop import release_path
from leffa.data.keypoints import openpose_json
from leffa.data.labels import Category
from leffa.data.part_colours import PART_COLOURS
from leffa.synthetic import encode
from leffa.synthetic.labels import Parsing
from leffa.synthetic.raster import Pixels
from leffa.synthetic.render import (
    PersonDrawing,
    PoseSet,
    TryOnDrawing,
    draw_pose_set,
    draw_tryon,
)

# What VITON-HD's `image-parse-agnostic` takes out of the label map inside the agnostic mask.
_HIDDEN = (
    Parsing.UPPER_CLOTHES, Parsing.DRESS, Parsing.NECK, Parsing.LEFT_ARM, Parsing.RIGHT_ARM,
)  # fmt: skip

Content = Pixels | bytes  # an image to be encoded by its file's suffix, or the file


@dataclass(frozen=True)
class Recipe:
    """What all samples of a dataset share; `layout` is one of `SYNTHETIC_LAYOUTS`."""

    layout: str
    seed: int
    height: int
    width: int


def numbering(spec: DatasetSpec) -> SyntheticSpec:
    """How the samples of a dataset that can be written are numbered."""
    assert spec.synthetic is not None
    return spec.synthetic


@dataclass(frozen=True)
class Sample:
    """Files that are rendered together: one person and garment, or all images of one person."""

    recipe: Recipe
    root: Path  # of the dataset
    group: str  # its name in the spec: a split or a category
    number: int  # that it is drawn from
    # The number of another sample, whose garment the person wears in place of the own one, or in
    # pose transfer whose whole appearance the person takes.
    reference: int | None = None

    @property
    def spec(self) -> GroupSpec:
        return CATALOG[self.recipe.layout].group(self.group)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys in its files' names, one per image of a person."""
        return numbering(CATALOG[self.recipe.layout]).keys(self.number)

    def name(self, role: str, key: int = 0) -> str:
        """How lists name the photograph of a role."""
        return self.spec.main(role).pattern.format(self.keys[key])

    @property
    def pairs(self) -> dict[str, tuple[int, int]]:
        """The pairs of pose transfer: from their key to the places of (reference, source)."""
        pairs = numbering(CATALOG[self.recipe.layout]).pairs
        references = (self.other or self).keys
        return {f"{references[a]}_2_{self.keys[b]}": (a, b) for a, b in pairs}

    @property
    def other(self) -> "Sample | None":
        """The sample of `reference`."""
        if self.reference is None:
            return None
        return replace(self, number=self.reference, reference=None)

    def files(self) -> Iterator[tuple[Path, str, str]]:
        """Where each file lies, how it is encoded, and its key."""
        spec = self.spec
        for file in spec.files:
            folder = self.root / spec.folder / file.spellings[0]
            encoder = file.encoder or file.content
            if encoder == "photo" and file.role == "garment":
                encoder = "garment"
            for key in self._keys_of(file.role):
                yield folder / file.pattern.format(key), encoder, key
        for key in self.keys if self.reference is None else ():
            if any(listing.form == "annotation" for listing in spec.lists):
                yield self.joints(key), "joints", key
            if any(TREE in file.spellings for file in spec.files):  # the release's tree
                yield self.root / release_path(key), "photo", key

    def _keys_of(self, role: str) -> Iterable[str]:
        """The keys of this role's files; with another's reference there is only what shows it."""
        other = self.other
        if (other is None) == (role == "unpaired"):
            return ()
        if other is not None and not self.pairs:
            return (unpaired_name(self.name("person"), other.name("garment")),)
        return self.pairs if role in ("pair", "unpaired") else self.keys

    def joints(self, key: str) -> Path:
        """Where the joints of an image are kept until their list is written."""
        return self.root / "keypoints" / f"{key}.json"

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        size = (recipe.height, recipe.width)
        if not self.pairs:
            category = cast(Category, self.spec.category)
            drawing = draw_tryon(recipe.seed, self.number, *size, category, self.reference)
            return {
                path: _encode(path, encoder, drawing.person, drawing)
                for path, encoder, _ in self.files()
            }
        poses = len(self.keys)
        people = draw_pose_set(recipe.seed, self.number, *size, poses, self.reference)
        persons = dict(zip(self.keys, people.drawings, strict=True))
        other: PoseSet | None = None
        if self.reference is not None:
            other = draw_pose_set(recipe.seed, self.reference, *size, poses)
            persons = {key: people.drawings[source] for key, (_, source) in self.pairs.items()}
        contents: dict[Path, bytes] = {}
        for path, encoder, key in self.files():
            if encoder == "flow":
                reference, source = self.pairs[key]
                contents[path] = encode.flow(*people.flow(source, reference, other))
            elif encoder == "joints":
                joints, frame = persons[key].keypoints_coco18, CATALOG[recipe.layout].frame
                contents[path] = encode.annotation(joints, size, frame)
            else:
                contents[path] = _encode(path, encoder, persons[key])
        return contents


def _encode(
    path: Path, encoder: str, person: PersonDrawing, drawing: TryOnDrawing | None = None
) -> bytes:
    if encoder in ENCODERS:
        content = ENCODERS[encoder](person)
    else:
        assert drawing is not None
        content = TRYON_ENCODERS[encoder](drawing)
    return content if isinstance(content, bytes) else encode.picture(content, path.name)


def _parse_agnostic(drawing: TryOnDrawing) -> bytes:
    parsing = drawing.person.parsing
    hidden = drawing.agnostic_mask & np.isin(parsing, _HIDDEN)
    return encode.palette_png(np.where(hidden, np.uint8(0), parsing))


def _lip(person: PersonDrawing) -> bytes:
    """LIP's labels are CIHP's but for the neck, which is background there."""
    neck = person.parsing == Parsing.NECK
    return encode.palette_png(np.where(neck, np.uint8(0), person.parsing))


ENCODERS: dict[str, Callable[[PersonDrawing], Content]] = {
    "photo": lambda person: person.image,
    "colour": lambda person: PART_COLOURS.astype(np.uint8)[person.iuv[..., 0]],
    "iuv": lambda person: person.iuv,
    "vui": lambda person: np.ascontiguousarray(person.iuv[..., ::-1]),
    "labels": lambda person: person.iuv[..., 0],
    "surface": lambda person: encode.surface(person.iuv[..., 1:]),
    "parse_20": lambda person: encode.palette_png(person.parsing),
    "parse_any": lambda person: encode.palette_png(person.parsing),
    "parse_18": lambda person: person.parsing_atr,
    "lip": _lip,
    "pose": lambda person: openpose_json(person.keypoints).encode(),
    "openpose_18": lambda person: encode.viton_json(person.keypoints_coco18),
    "dress_code_pose": lambda person: encode.dress_code_json(
        person.keypoints_coco18, person.parsing.shape
    ),
    "drawing": lambda person: encode.skeleton(person.keypoints, person.parsing.shape),
}
"""What a file of a person holds: by `FileSpec.encoder`, else by its content."""

TRYON_ENCODERS: dict[str, Callable[[TryOnDrawing], Content]] = {
    "garment": lambda drawing: drawing.garment,
    "garment_mask": lambda drawing: encode.black_and_white(drawing.garment_mask),
    "mask": lambda drawing: encode.black_and_white(drawing.agnostic_mask),
    "mask_rgb": lambda drawing: np.repeat(  # as in the real VITON-HD
        encode.black_and_white(drawing.agnostic_mask)[..., None], 3, axis=-1
    ),
    "agnostic": lambda drawing: drawing.agnostic,
    "parse_agnostic": _parse_agnostic,
    "flow": lambda drawing: encode.flow(drawing.flow, drawing.flow_valid),
}
"""What a file holds that needs person and garment."""
