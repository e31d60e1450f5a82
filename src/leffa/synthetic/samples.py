"""What is written for one try-on sample of each layout: which files, and what is in them.

A sample knows its paths before it is drawn, so a sample whose files are all there need not be drawn
again. The number in a file's name is the index that it is drawn from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from leffa.synthetic import encode
from leffa.synthetic.labels import Category, Parsing
from leffa.synthetic.world import draw_tryon

# What VITON-HD's `image-parse-agnostic` takes out of the label map inside the agnostic mask.
_HIDDEN = (
    Parsing.UPPER_CLOTHES, Parsing.DRESS, Parsing.NECK, Parsing.LEFT_ARM, Parsing.RIGHT_ARM,
)  # fmt: skip


class Sample(Protocol):
    """Some files that are drawn together."""

    def paths(self) -> list[Path]:
        """All files of the sample."""
        ...

    def draw(self) -> dict[Path, bytes]:
        """Their contents, by path."""
        ...


@dataclass(frozen=True)
class Recipe:
    """What all samples of a data set share."""

    seed: int
    height: int
    width: int


@dataclass(frozen=True)
class VitonHDSample:
    """One person and garment in VITON-HD's layout; `folder` is train/ or test/."""

    recipe: Recipe
    folder: Path
    number: int

    @property
    def stem(self) -> str:
        """The name of the sample in all folders."""
        return f"{self.number:05d}_00"

    def paths(self) -> list[Path]:
        """All files of the sample."""
        return list(self._names().values())

    def _names(self) -> dict[str, Path]:
        names = {
            "image": f"{self.stem}.jpg",
            "cloth": f"{self.stem}.jpg",
            "cloth-mask": f"{self.stem}.jpg",
            "agnostic-v3.2": f"{self.stem}.jpg",
            "agnostic-mask": f"{self.stem}_mask.png",
            "image-densepose": f"{self.stem}.jpg",
            "image-parse-v3": f"{self.stem}.png",
            "image-parse-agnostic-v3.2": f"{self.stem}.png",
            "openpose_img": f"{self.stem}_rendered.png",
            "openpose_json": f"{self.stem}_keypoints.json",
            "image-iuv": f"{self.stem}.png",
            "flow": f"{self.stem}.npz",
        }
        return {kind: self.folder / kind / name for kind, name in names.items()}

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        drawing = draw_tryon(recipe.seed, self.number, recipe.height, recipe.width)
        person, mask = drawing.person, drawing.agnostic_mask
        parse_agnostic = np.where(
            mask & np.isin(person.parsing, _HIDDEN), np.uint8(0), person.parsing
        )
        contents = {
            "image": encode.jpeg(person.image),
            "cloth": encode.jpeg(drawing.garment),
            "cloth-mask": encode.jpeg(encode.black_and_white(drawing.garment_mask)),
            "agnostic-v3.2": encode.jpeg(drawing.agnostic),
            # Three channels, as in the real set.
            "agnostic-mask": encode.png(
                np.repeat(encode.black_and_white(mask)[..., None], 3, axis=-1)
            ),
            "image-densepose": encode.jpeg(person.densepose_rgb),
            "image-parse-v3": encode.palette_png(person.parsing),
            "image-parse-agnostic-v3.2": encode.palette_png(parse_agnostic),
            "openpose_img": encode.png(encode.skeleton(person.keypoints, mask.shape)),
            "openpose_json": encode.openpose_json(person.keypoints),
            "image-iuv": encode.png(person.iuv),
            "flow": encode.flow(drawing.flow, drawing.flow_valid),
        }
        return {path: contents[kind] for kind, path in self._names().items()}


@dataclass(frozen=True)
class DressCodeSample:
    """One person and garment in DressCode's layout; `folder` is that of the category."""

    recipe: Recipe
    folder: Path
    category: Category
    number: int

    @property
    def person(self) -> str:
        """The file of the person in the lists."""
        return f"{self.number:06d}_0.jpg"

    @property
    def garment(self) -> str:
        """The file of the garment in the lists."""
        return f"{self.number:06d}_1.jpg"

    def paths(self) -> list[Path]:
        """All files of the sample."""
        return list(self._names().values())

    def _names(self) -> dict[str, Path]:
        number = f"{self.number:06d}"
        names = {
            "person": f"images/{self.person}",
            "garment": f"images/{self.garment}",
            "keypoints": f"keypoints/{number}_2.json",
            "skeleton": f"skeletons/{number}_5.jpg",
            "parsing": f"label_maps/{number}_4.png",
            "dense": f"dense/{number}_5.png",
            "uv": f"dense/{number}_5_uv.npz",
            "densepose": f"image-densepose/{number}_0.jpg",
            "agnostic": f"agnostic_masks/{number}_0.png",
            "garment mask": f"masks/{number}_1.png",
            "flow": f"flow/{number}_0.npz",
        }
        return {kind: self.folder / name for kind, name in names.items()}

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        drawing = draw_tryon(recipe.seed, self.number, recipe.height, recipe.width, self.category)
        person = drawing.person
        size = person.parsing.shape
        contents = {
            "person": encode.jpeg(person.image),
            "garment": encode.jpeg(drawing.garment),
            "keypoints": encode.dress_code_json(person.keypoints_coco18, size),
            "skeleton": encode.jpeg(encode.skeleton(person.keypoints, size)),
            "parsing": encode.png(person.parsing_atr),
            "dense": encode.png(person.iuv[..., 0]),
            "uv": encode.surface(person.iuv[..., 1:]),
            "densepose": encode.jpeg(person.densepose_rgb),
            "agnostic": encode.png(encode.black_and_white(drawing.agnostic_mask)),
            "garment mask": encode.png(encode.black_and_white(drawing.garment_mask)),
            "flow": encode.flow(drawing.flow, drawing.flow_valid),
        }
        return {path: contents[kind] for kind, path in self._names().items()}


@dataclass(frozen=True)
class VitonSample:
    """One person and garment in the layout of the original VITON; `folder` is train/ or test/."""

    recipe: Recipe
    folder: Path
    number: int

    @property
    def person(self) -> str:
        """The file of the person in the lists."""
        return f"{self.number:06d}_0.jpg"

    @property
    def garment(self) -> str:
        """The file of the garment in the lists."""
        return f"{self.number:06d}_1.jpg"

    def paths(self) -> list[Path]:
        """All files of the sample."""
        return list(self._names().values())

    def _names(self) -> dict[str, Path]:
        names = {
            "image": self.person,
            "cloth": self.garment,
            "cloth-mask": self.garment,
            "image-parse": f"{self.number:06d}_0.png",
            "pose": f"{self.number:06d}_0_keypoints.json",
            "flow": f"{self.number:06d}_0.npz",
        }
        return {kind: self.folder / kind / name for kind, name in names.items()}

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        drawing = draw_tryon(recipe.seed, self.number, recipe.height, recipe.width)
        person = drawing.person
        # LIP's labels are CIHP's but for the neck, which is background there.
        parse = np.where(person.parsing == Parsing.NECK, np.uint8(0), person.parsing)
        contents = {
            "image": encode.jpeg(person.image),
            "cloth": encode.jpeg(drawing.garment),
            "cloth-mask": encode.jpeg(encode.black_and_white(drawing.garment_mask)),
            "image-parse": encode.palette_png(parse),
            "pose": encode.viton_json(person.keypoints_coco18),
            "flow": encode.flow(drawing.flow, drawing.flow_valid),
        }
        return {path: contents[kind] for kind, path in self._names().items()}


@dataclass(frozen=True)
class FolderSample:
    """One person and garment of a folder of one's own: a folder a kind, one name in all."""

    recipe: Recipe
    folder: Path
    category: Category
    number: int

    @property
    def columns(self) -> dict[str, str]:
        """The sample's line in the table, by column."""
        stem = f"{self.number:06d}"
        return {
            "person": f"persons/{stem}.jpg",
            "garment": f"garments/{stem}.jpg",
            "mask": f"masks/{stem}.png",
            "densepose": f"densepose/{stem}.png",
            "parse": f"parse/{stem}.png",
            "keypoints": f"keypoints/{stem}.json",
            "garment_mask": f"garment_masks/{stem}.png",
        }

    def paths(self) -> list[Path]:
        """All files of the sample."""
        return [self.folder / name for name in self.columns.values()]

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        drawing = draw_tryon(recipe.seed, self.number, recipe.height, recipe.width, self.category)
        person = drawing.person
        contents = {
            "person": encode.jpeg(person.image),
            "garment": encode.jpeg(drawing.garment),
            "mask": encode.png(encode.black_and_white(drawing.agnostic_mask)),
            "densepose": encode.png(person.densepose_rgb),
            "parse": encode.palette_png(person.parsing),
            "keypoints": encode.openpose_json(person.keypoints),
            "garment_mask": encode.png(encode.black_and_white(drawing.garment_mask)),
        }
        return {self.folder / name: contents[kind] for kind, name in self.columns.items()}
