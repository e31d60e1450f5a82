"""Pictures of noise, for what does not depend on what they show."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw(
    folder: Path,
    *names: str,
    size: tuple[int, int] = (24, 32),
    mode: str = "RGB",
    seed: int = 0,
) -> Path:
    """Save noise of (width, height) under these file names; returns the folder."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    for name in names:
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / name)
    return folder
