"""The samples of a synthetic data set: which files its spec asks for, and what is in them.

A sample knows its paths before it is drawn, so a sample whose files are all there need not be drawn
again. The number in a file's name is the index that it is drawn from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from leffa.data.catalog import CATALOG
from leffa.data.catalog.spec import TREE, DatasetSpec, FileSpec, GroupSpec, SyntheticSpec
from leffa.data.inshop import release_path
from leffa.synthetic import encode
from leffa.synthetic.arrays import Pixels
from leffa.synthetic.labels import Category, Parsing
from leffa.synthetic.world import PersonDrawing, TryOnDrawing, draw_pose_set, draw_tryon

# What VITON-HD's `image-parse-agnostic` takes out of the label map inside the agnostic mask.
_HIDDEN = (
    Parsing.UPPER_CLOTHES, Parsing.DRESS, Parsing.NECK, Parsing.LEFT_ARM, Parsing.RIGHT_ARM,
)  # fmt: skip

Content = Pixels | bytes  # a picture to be encoded by its file's suffix, or the file


@dataclass(frozen=True)
class Recipe:
    """What all samples of a data set share."""

    seed: int
    height: int
    width: int


@dataclass(frozen=True)
class Sample:
    """Files that are drawn together: one person and garment, or all pictures of one person.

    Args:
        layout: a key of `CATALOG` whose spec has a `synthetic` part.
        recipe: of the data set.
        root: of the data set.
        group: its name in the spec: a split or a category.
        number: that it is drawn from.
    """

    layout: str
    recipe: Recipe
    root: Path
    group: str
    number: int

    @property
    def _group(self) -> GroupSpec:
        return CATALOG[self.layout].group(self.group)

    @property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        return plan(CATALOG[self.layout]).pairs

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys in its files' names, one a picture of a person."""
        return plan(CATALOG[self.layout]).keys(self.number)

    def name(self, role: str, key: int = 0) -> str:
        """How lists name the photograph of a role."""
        return self._group.main(role).pattern.format(self.keys[key])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(reference, source) of pose transfer, by the names of their pictures."""
        return [(self.name("picture", a), self.name("picture", b)) for a, b in self._pairs]

    def path(self, files: FileSpec, key: str) -> Path:
        """Where a file lies."""
        return self.root / self._group.folder / files.spellings[0] / files.pattern.format(key)

    def joints(self, key: str) -> Path:
        """Where the joints of a picture are kept until their list is written."""
        return self.root / "keypoints" / f"{key}.json"

    def paths(self) -> list[Path]:
        """All files of the sample."""
        paths = [
            self.path(files, key)
            for files in self._group.files
            for key in (self._pair_keys if files.role == "pair" else self.keys)
        ]
        return paths + [path for key in self.keys for path in self._beside(key)]

    @property
    def _pair_keys(self) -> list[str]:
        return [
            f"{self.keys[reference]}_2_{self.keys[source]}" for reference, source in self._pairs
        ]

    def _beside(self, key: str) -> list[Path]:
        """Joints and the release's tree, where the data set has them beside what is read."""
        if not any(listing.form == "annotation" for listing in self._group.lists):
            return []
        in_tree = TREE in self._group.main("picture").spellings
        return [self.joints(key), *([self.root / release_path(key)] if in_tree else [])]

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        if self._pairs:
            return self._draw_pose_set()
        category = cast(Category, self._group.category)
        drawing = draw_tryon(recipe.seed, self.number, recipe.height, recipe.width, category)
        return {
            path: _encode(files, drawing.person, drawing, path)
            for files in self._group.files
            for path in (self.path(files, self.keys[0]),)
        }

    def _draw_pose_set(self) -> dict[Path, bytes]:
        recipe, group = self.recipe, self._group
        size, frame = (recipe.height, recipe.width), CATALOG[self.layout].frame
        people = draw_pose_set(recipe.seed, self.number, *size, len(self.keys))
        contents: dict[Path, bytes] = {}
        for key, person in zip(self.keys, people.drawings, strict=True):
            for files in group.files:
                if files.role == "picture":
                    path = self.path(files, key)
                    contents[path] = _encode(files, person, None, path)
            photograph = contents[self.path(group.main("picture"), key)]
            joints = encode.annotation(person.keypoints_coco18, size, frame)
            contents |= zip(self._beside(key), (joints, photograph), strict=False)
        (flows,) = (files for files in group.files if files.role == "pair")
        for key, (reference, source) in zip(self._pair_keys, self._pairs, strict=True):
            drawn = people.pair(source=source, reference=reference)
            contents[self.path(flows, key)] = encode.flow(drawn.flow, drawn.flow_valid)
        return contents


def plan(spec: DatasetSpec) -> SyntheticSpec:
    """How the samples of a data set that can be written are numbered."""
    assert spec.synthetic is not None
    return spec.synthetic


def _encode(
    files: FileSpec, person: PersonDrawing, drawing: TryOnDrawing | None, path: Path
) -> bytes:
    encoder = files.encoder or files.content
    if encoder == "photo" and files.role == "garment":
        encoder = "garment"
    if encoder in ENCODERS:
        content = ENCODERS[encoder](person)
    else:
        assert drawing is not None
        content = TRYON_ENCODERS[encoder](drawing)
    return content if isinstance(content, bytes) else encode.picture(content, path.name)


def _size(person: PersonDrawing) -> tuple[int, int]:
    height, width = person.parsing.shape
    return height, width


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
    "colour": lambda person: person.densepose_rgb,
    "iuv": lambda person: person.iuv,
    "vui": lambda person: np.ascontiguousarray(person.iuv[..., ::-1]),
    "labels": lambda person: person.iuv[..., 0],
    "surface": lambda person: encode.surface(person.iuv[..., 1:]),
    "parse_20": lambda person: encode.palette_png(person.parsing),
    "parse_any": lambda person: encode.palette_png(person.parsing),
    "parse_18": lambda person: person.parsing_atr,
    "lip": _lip,
    "pose": lambda person: encode.openpose_json(person.keypoints),
    "openpose_18": lambda person: encode.viton_json(person.keypoints_coco18),
    "dress_code_pose": lambda person: encode.dress_code_json(
        person.keypoints_coco18, _size(person)
    ),
    "drawing": lambda person: encode.skeleton(person.keypoints, _size(person)),
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
