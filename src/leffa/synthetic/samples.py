"""What is written for one sample of each layout: which files, and what is in them.

A sample knows its paths before it is drawn, so a sample whose files are all there need not be drawn
again. The number in a file's name is the index that it is drawn from.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leffa.synthetic import encode
from leffa.synthetic.labels import Category, Parsing
from leffa.synthetic.world import PersonDrawing, draw_pose_set, draw_tryon

# What VITON-HD's `image-parse-agnostic` takes out of the label map inside the agnostic mask.
_HIDDEN = (
    Parsing.UPPER_CLOTHES, Parsing.DRESS, Parsing.NECK, Parsing.LEFT_ARM, Parsing.RIGHT_ARM,
)  # fmt: skip
POSES = (
    "1_front",
    "2_side",
    "7_additional",
)  # the pictures of one person, under DeepFashion's names


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
class DeepFashionSample:
    """One person in three poses in CFLD's layout; `split` is train or test."""

    recipe: Recipe
    root: Path
    split: str
    number: int

    @property
    def release_names(self) -> list[Path]:
        """Where the In-shop release has the pictures, below the root."""
        # Drawn people have no gender; both folders occur, as in the release.
        gender = "MEN" if self.number % 4 == 0 else "WOMEN"
        item = Path(gender) / "Drawn_Outfits" / f"id_{self.number:08d}"
        return [item / f"01_{pose}.jpg" for pose in POSES]

    @property
    def stems(self) -> list[str]:
        """Their flat names without `.jpg`."""
        return [flat_name(path).removesuffix(".jpg") for path in self.release_names]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(from, to) stems: each picture serves once as reference and once as target."""
        return list(zip(self.stems, [*self.stems[1:], self.stems[0]], strict=True))

    def keypoint_path(self, stem: str) -> Path:
        """Where the keypoints of a picture are kept until the annotation list is written."""
        return self.root / "keypoints" / f"{stem}.json"

    def paths(self) -> list[Path]:
        """All files of the sample."""
        per_picture = [path for number in range(len(POSES)) for path in self._picture_paths(number)]
        return per_picture + [self._flow_path(*pair) for pair in self.pairs]

    def _picture_paths(self, pose: int) -> tuple[Path, Path, Path, Path]:
        stem = self.stems[pose]
        return (
            self.root / self.release_names[pose],
            self.root / f"{self.split}_highres" / f"{stem}.jpg",
            self.root / "densepose" / f"{stem}.png",
            self.keypoint_path(stem),
        )

    def _flow_path(self, reference: str, source: str) -> Path:
        return self.root / "flow" / f"{reference}_2_{source}.npz"

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        people = draw_pose_set(recipe.seed, self.number, recipe.height, recipe.width, len(POSES))
        files: dict[Path, bytes] = {}
        for pose, drawing in enumerate(people.drawings):
            released, picture, body, keypoints = self._picture_paths(pose)
            files[released] = files[picture] = encode.jpeg(drawing.image)
            files[body] = encode.png(drawing.iuv)
            files[keypoints] = json.dumps(_annotation(drawing).tolist()).encode()
        for reference, pair in enumerate(self.pairs):
            drawn = people.pair(source=(reference + 1) % len(POSES), reference=reference)
            files[self._flow_path(*pair)] = encode.flow(drawn.flow, drawn.flow_valid)
        return files


def flat_name(path: Path) -> str:
    """A path of the release without its separators.

    `WOMEN/Tees_Tanks/id_00000029/06_2_side.jpg` becomes
    `fashionWOMENTees_Tanksid0000002906_2side.jpg`.
    """
    gender, category, item, name = path.parts
    person, rest = name.split("_", maxsplit=1)
    return f"fashion{gender}{category}{item.replace('_', '')}{person}_{rest.replace('_', '')}"


def _annotation(drawing: PersonDrawing) -> NDArray[np.int64]:
    """(2, 18) y and x of COCO-18 in a frame 256 high and 176 wide, -1 where missing."""
    height, width = drawing.parsing.shape
    x, y, seen = drawing.keypoints_coco18.T
    places = np.stack([y * 256 / height, x * 176 / width])
    return np.where(seen > 0, np.floor(places), -1).astype(np.int64)
