"""Tiny copies of the data sets in their own layouts: 24x32 noise, with meaningful labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from leffa.data.catalog.spec import SYNTHETIC

# Other work shares the processor.
settings.register_profile("patient", deadline=None, max_examples=30)
settings.load_profile("patient")

WIDTH, HEIGHT = 24, 32
JOINTS_18 = [
    *((12, 4), (12, 8), (7, 9), (6, 14), (6, 20), (17, 9), (18, 14), (18, 20), (9, 21)),
    *((9, 28), (0, 0), (15, 21), (15, 28), (0, 0), (11, 3), (13, 3), (10, 4), (14, 4)),
]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real pictures, where this machine has them; they are never part of the repository."""
    folder = Path(__file__).parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


class Writer:
    """Writes the files of a data set, each with other pixels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rng = np.random.default_rng(0)
        self.text(SYNTHETIC, "{}")  # so nobody expects the official number of pairs

    def text(self, name: str, content: str) -> None:
        path = self._path(name)
        path.write_text(content)

    def picture(self, name: str) -> None:
        pixels = self._rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
        Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(
            self._path(name)
        )

    def mask(self, name: str) -> None:
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        pixels[8:24, 5:17] = 255
        Image.fromarray(pixels).convert("RGB").save(self._path(name), quality=95)

    def labels(self, name: str, ids: tuple[int, ...]) -> None:
        """Vertical stripes of ids."""
        columns = np.array(ids, np.uint8)[np.arange(WIDTH) * len(ids) // WIDTH]
        image = Image.fromarray(np.tile(columns, (HEIGHT, 1)))
        image.putpalette(self._rng.integers(0, 256, 768, np.uint8).tobytes())
        image.save(self._path(name))

    def iuv(self, name: str) -> None:
        pixels = self._rng.integers(1, 256, (HEIGHT, WIDTH, 3), np.uint8)
        pixels[..., 0] = np.repeat(self._rng.integers(1, 25, WIDTH // 4, np.uint8), 4)
        pixels[:4] = 0
        Image.fromarray(pixels).save(self._path(name))

    def openpose(self, name: str, key: str, joints: int) -> None:
        points = [*JOINTS_18[:8], (12, 21), *JOINTS_18[8:], *[(0, 0)] * 6]
        points = points if joints == 25 else JOINTS_18
        values = [value for x, y in points for value in (x, y, 0.9 if x else 0)]
        self.text(name, json.dumps({"people": [{key: values}]}))

    def flow(self, name: str) -> None:
        y, x = np.meshgrid(np.linspace(-1, 1, HEIGHT), np.linspace(-1, 1, WIDTH), indexing="ij")
        flow = np.stack([0.8 * x + 0.1, 0.9 * y - 0.05], axis=-1).astype(np.float16)
        np.savez_compressed(self._path(name), flow=flow, valid=np.abs(x) < 0.8)

    def _path(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def viton_hd(tmp_path: Path) -> Path:
    """VITON-HD with every optional folder."""
    write = Writer(tmp_path / "viton_hd")
    stems = ["00001_00", "00002_00", "00003_00"]
    for split in ("train", "test"):
        turned = [*stems[1:], stems[0]]
        lines = [f"{a}.jpg {b}.jpg" for a, b in zip(stems, turned, strict=True)]
        write.text(f"{split}_pairs.txt", "\n".join(lines) + "\n")
        for stem in stems:
            for folder in ("image", "cloth", "image-densepose"):
                write.picture(f"{split}/{folder}/{stem}.jpg")
            write.mask(f"{split}/cloth-mask/{stem}.jpg")
            write.mask(f"{split}/agnostic-mask/{stem}_mask.png")
            write.labels(f"{split}/image-parse-v3/{stem}.png", (0, 5, 5, 13))
            write.openpose(f"{split}/openpose_json/{stem}_keypoints.json", "pose_keypoints_2d", 25)
            write.iuv(f"{split}/image-iuv/{stem}.png")
            write.flow(f"{split}/flow/{stem}.npz")
    return write.root


@pytest.fixture
def viton(tmp_path: Path) -> Path:
    write = Writer(tmp_path / "viton")
    write.text("train_pairs.txt", "000001_0.jpg 000001_1.jpg\n000002_0.jpg 000002_1.jpg\n")
    write.text("test_pairs.txt", "000001_0.jpg 000002_1.jpg\n000002_0.jpg 000001_1.jpg\n")
    for split in ("train", "test"):
        for number in ("000001", "000002"):
            write.picture(f"{split}/image/{number}_0.jpg")
            write.picture(f"{split}/cloth/{number}_1.jpg")
            write.mask(f"{split}/cloth-mask/{number}_1.jpg")
            write.labels(f"{split}/image-parse/{number}_0.png", (0, 5, 5, 13))
            write.openpose(f"{split}/pose/{number}_0_keypoints.json", "pose_keypoints", 18)
    return write.root


@pytest.fixture
def dress_code(tmp_path: Path) -> Path:
    """DressCode; one list is tab separated and one is not, as among the copies in use."""
    write = Writer(tmp_path / "dress_code")
    rows = [[*point, 0.9 if point[0] else 0, 0] for point in JOINTS_18]
    keypoints = [[x * 384 / WIDTH, y * 512 / HEIGHT, score, k] for x, y, score, k in rows]
    for category, first in (("upper_body", 1), ("lower_body", 3), ("dresses", 5)):
        a, b = f"{first:06}", f"{first + 1:06}"
        paired = f"{a}_0.jpg\t{a}_1.jpg\n{b}_0.jpg\t{b}_1.jpg\n"
        write.text(f"{category}/train_pairs.txt", paired)
        write.text(f"{category}/test_pairs_paired.txt", paired)
        unpaired = f"{a}_0.jpg {b}_1.jpg\n{b}_0.jpg {a}_1.jpg\n"
        write.text(f"{category}/test_pairs_unpaired.txt", unpaired)
        for number in (a, b):
            write.picture(f"{category}/images/{number}_0.jpg")
            write.picture(f"{category}/images/{number}_1.jpg")
            write.mask(f"{category}/agnostic_masks/{number}_0.png")
            write.labels(f"{category}/label_maps/{number}_4.png", (0, 4, 6, 7))
            write.labels(f"{category}/dense/{number}_5.png", (0, 2, 15, 16))
            write.text(
                f"{category}/keypoints/{number}_2.json", json.dumps({"keypoints": keypoints})
            )
    return write.root


@pytest.fixture
def deepfashion(tmp_path: Path) -> Path:
    write = Writer(tmp_path / "fashion")
    front, side, back = (
        f"fashionWOMENTees_Tanksid0000002906_{view}" for view in ("1front", "2side", "3back")
    )
    for split in ("train", "test"):
        write.text(
            f"fasion-resize-pairs-{split}.csv",
            f"from,to\n{front}.jpg,{side}.jpg\n{side}.jpg,{back}.jpg\n",
        )
        for stem in (front, side, back):
            write.picture(f"{split}_highres/{stem}.jpg")
    for stem in (front, side, back):
        write.iuv(f"densepose/{stem}.png")
    write.flow(f"flow/{front}_2_{side}.npz")
    write.flow(f"flow/{side}_2_{back}.npz")
    return write.root


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)
