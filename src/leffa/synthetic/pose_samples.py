"""What is written for one person of a pose-transfer layout: pictures, labels, and flows of pairs.

A person is drawn in `POSES`, so the samples of one person are drawn together.
"""

import json
from abc import abstractmethod
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leffa.synthetic import encode
from leffa.synthetic.samples import Recipe, Sample
from leffa.synthetic.world import PersonDrawing, draw_pose_set

POSES = ("1_front", "2_side", "7_additional")  # the pictures of a person, by DeepFashion's names


@dataclass(frozen=True)
class PoseSample(Sample):
    """One person in three poses; `split` is train or test."""

    recipe: Recipe
    root: Path
    split: str
    number: int

    @property
    @abstractmethod
    def stems(self) -> list[str]:
        """The names of the pictures, without suffix."""

    @abstractmethod
    def names(self, pose: int) -> dict[str, Path]:
        """The files of one picture, by kind."""

    @abstractmethod
    def contents(self, drawing: PersonDrawing) -> dict[str, bytes]:
        """What they hold, by kind."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(reference, source) poses: each picture serves once as the one and once as the other."""
        return [(pose, (pose + 1) % len(POSES)) for pose in range(len(POSES))]

    @property
    def named_pairs(self) -> list[tuple[str, str]]:
        """The pairs by their stems."""
        return [(self.stems[reference], self.stems[source]) for reference, source in self.pairs]

    def joints(self, stem: str) -> Path:
        """Where the joints of a picture are kept until their list is written."""
        return self.root / "keypoints" / f"{stem}.json"

    def paths(self) -> list[Path]:
        """All files of the person."""
        pictures = [path for pose in range(len(POSES)) for path in self.names(pose).values()]
        return pictures + [self._flow(*pair) for pair in self.pairs]

    def draw(self) -> dict[Path, bytes]:
        """The contents of the files, by path."""
        recipe = self.recipe
        people = draw_pose_set(recipe.seed, self.number, recipe.height, recipe.width, len(POSES))
        files: dict[Path, bytes] = {}
        for pose, drawing in enumerate(people.drawings):
            contents = self.contents(drawing)
            files |= {path: contents[kind] for kind, path in self.names(pose).items()}
        for reference, source in self.pairs:
            drawn = people.pair(source=source, reference=reference)
            path = self._flow(reference, source)
            files[path] = encode.flow(drawn.flow, drawn.flow_valid)
        return files

    def _flow(self, reference: int, source: int) -> Path:
        return self.root / "flow" / f"{self.stems[reference]}_2_{self.stems[source]}.npz"


@dataclass(frozen=True)
class DeepFashionSample(PoseSample):
    """One person in CFLD's layout of DeepFashion, and in the tree of the release."""

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

    def names(self, pose: int) -> dict[str, Path]:
        """The files of one picture, by kind."""
        stem = self.stems[pose]
        return {
            "released": self.root / self.release_names[pose],
            "picture": self.root / f"{self.split}_highres" / f"{stem}.jpg",
            "densepose": self.root / "densepose" / f"{stem}.png",
            "joints": self.joints(stem),
        }

    def contents(self, drawing: PersonDrawing) -> dict[str, bytes]:
        """What they hold, by kind."""
        picture = encode.jpeg(drawing.image)
        return {
            "released": picture,
            "picture": picture,
            "densepose": encode.png(drawing.iuv),
            "joints": _annotation(drawing, frame=(256, 176)),
        }


@dataclass(frozen=True)
class Market1501Sample(PoseSample):
    """One person in PATN's layout of Market-1501, each pose under a camera of its own."""

    @property
    def stems(self) -> list[str]:
        """Person, camera and frame; person 0 would be a distractor."""
        person, frame = self.number + 1, self.number + 1
        return [f"{person:04d}_c{pose + 1}s1_{frame:06d}_00" for pose in range(len(POSES))]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(reference, source) poses: all of them, as in the published lists."""
        return list(permutations(range(len(POSES)), 2))

    def names(self, pose: int) -> dict[str, Path]:
        """The files of one picture, by kind."""
        stem = self.stems[pose]
        return {
            "picture": self.root / self.split / f"{stem}.jpg",
            "densepose": self.root / "densepose" / f"{stem}.png",
            "joints": self.joints(stem),
        }

    def contents(self, drawing: PersonDrawing) -> dict[str, bytes]:
        """What they hold, by kind."""
        return {
            "picture": encode.jpeg(drawing.image),
            "densepose": encode.png(drawing.iuv),
            "joints": _annotation(drawing, frame=(128, 64)),
        }


@dataclass(frozen=True)
class WPoseSample(PoseSample):
    """One person in WPose's layout."""

    @property
    def stems(self) -> list[str]:
        """The pictures are numbered from 1."""
        return [str(len(POSES) * self.number + pose + 1) for pose in range(len(POSES))]

    def names(self, pose: int) -> dict[str, Path]:
        """The files of one picture, by kind."""
        folders = ("images", "densepose", "parsing")
        return {folder: self.root / folder / f"{self.stems[pose]}.png" for folder in folders}

    def contents(self, drawing: PersonDrawing) -> dict[str, bytes]:
        """What they hold, by kind; DensePose in the order V, U, part id."""
        return {
            "images": encode.png(drawing.image),
            "densepose": encode.png(np.ascontiguousarray(drawing.iuv[..., ::-1])),
            "parsing": encode.palette_png(drawing.parsing),
        }


def flat_name(path: Path) -> str:
    """A path of the In-shop release without its separators.

    `WOMEN/Tees_Tanks/id_00000029/06_2_side.jpg` becomes
    `fashionWOMENTees_Tanksid0000002906_2side.jpg`.
    """
    gender, category, item, name = path.parts
    person, rest = name.split("_", maxsplit=1)
    return f"fashion{gender}{category}{item.replace('_', '')}{person}_{rest.replace('_', '')}"


def _annotation(drawing: PersonDrawing, frame: tuple[int, int]) -> bytes:
    """[y, x] of 18 COCO joints each, in a frame of (height, width), -1 where missing."""
    height, width = drawing.parsing.shape
    x, y, seen = drawing.keypoints_coco18.T
    places = np.stack([y * frame[0] / height, x * frame[1] / width])
    joints: NDArray[np.int64] = np.where(seen > 0, np.floor(places), -1).astype(np.int64)
    return json.dumps(joints.tolist()).encode()
