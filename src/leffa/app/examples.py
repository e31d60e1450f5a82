"""Examples for the page: synthetic persons and garments, whose maps are known exactly.

They are recognised by their pixels wherever they come back from, so choosing one is the same as
uploading it, and its mask and maps need no network.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.io.png import save_png
from leffa.preprocess.synthetic_labels import SyntheticLabels
from leffa.synthetic.render import draw_pose_set, draw_tryon

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SEED = 0  # of the synthetic dataset of `make demo`
FIRST = 50_000  # its test samples begin here: no model of ours was trained on them
# Unlike each other. The last person and the first garment stand on the page to begin with: a
# model of a few hundred steps does well with them.
TRYON_PERSONS, TRYON_GARMENTS = (0, 1, 3, 4, 2), (9, 5, 6, 7, 8)
POSE_PEOPLE = (0, 1, 2, 3, 4)
# Pixels: a model of 96x72 is shown images that a person can see; larger ones take long to render.
LEAST_HEIGHT, MOST_HEIGHT = 384, 512


@dataclass(frozen=True)
class Examples:
    """Images on disk, and what is known of them.

    Args:
        persons: of try-on, or the wanted poses.
        references: garments, or the persons to copy.
        labels: of all persons.
        masks: try-on masks by the image they belong to and the category.
    """

    persons: list[Path]
    references: list[Path]
    labels: SyntheticLabels
    masks: dict[tuple[bytes, str], Mask]

    def known(self, picture: Image.Image) -> bool:
        """Whether this is one of the synthetic persons, pixel by pixel."""
        try:
            self.labels.parse(picture)
        except ValueError:
            return False
        return True

    def is_copy(self, path: Path) -> bool:
        """Whether it is gradio's copy of a synthetic image, which every visitor needs."""
        return path.is_file() and any(
            drawn.name == path.name and drawn.read_bytes() == path.read_bytes()
            for drawn in (*self.persons, *self.references)
        )

    def mask(self, picture: Image.Image, category: str) -> Mask | None:
        """(H, W) the mask that belongs to a synthetic image, if there is one of this category."""
        return self.masks.get((np.asarray(picture.convert("RGB")).tobytes(), category))


def draw_examples(task: str, folder: Path, height: int, width: int) -> Examples:
    """Render the examples of a task ("tryon" or "pose") in the shape of the model's images."""
    scale = min(max(LEAST_HEIGHT, height), MOST_HEIGHT) / height
    size = round(height * scale), round(width * scale)
    if task == "tryon":
        numbers = (*TRYON_PERSONS, *TRYON_GARMENTS)
        samples = [draw_tryon(SEED, FIRST + number, *size) for number in numbers]
        worn, garments = samples[: len(TRYON_PERSONS)], samples[len(TRYON_PERSONS) :]
        return Examples(
            persons=_save([sample.person.image for sample in worn], folder / "persons"),
            references=_save([sample.garment for sample in garments], folder / "garments"),
            labels=SyntheticLabels(sample.person for sample in samples),
            masks={(s.person.image.tobytes(), s.category): s.agnostic_mask for s in worn},
        )
    pairs = [draw_pose_set(SEED, FIRST + number, *size, poses=2).drawings for number in POSE_PEOPLE]
    return Examples(
        persons=_save([pair[0].image for pair in pairs], folder / "poses"),
        references=_save([pair[1].image for pair in pairs], folder / "looks"),
        labels=SyntheticLabels(drawing for pair in pairs for drawing in pair),
        masks={},
    )


def _save(pictures: list[Pixels], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number + 1}.png" for number in range(len(pictures))]
    for pixels, path in zip(pictures, paths, strict=True):
        save_png(Image.fromarray(pixels), path)
    return paths
