"""DeepFashion's pictures at the sizes that pose transfer is trained and scored at.

Worker processes import this, so it imports no torch.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from leffa.io.pictures import open_picture
from leffa.preprocess.prepare.jobs import Progress, run_jobs

SIZES = ((176, 256), (352, 512))  # CFLD, section 4.1; Leffa, section 4.1

# The low-resolution release centres a picture of 176x256 on a white square (PATN's crop).
_SQUARE, _BORDER = 256, 40


@dataclass(frozen=True)
class Resize:
    """One picture at another size, by Pillow's bicubic filter, as PNG (PIDM, `prepare_data.py`)."""

    picture: Path
    target: Path
    size: tuple[int, int]

    def make(self) -> bytes:
        """The PNG; raises ValueError where the picture cannot be read, or is stored turned."""
        picture = open_picture(self.picture)
        if picture.width == picture.height:
            left = picture.width * _BORDER / _SQUARE
            picture = picture.crop((round(left), 0, round(picture.width - left), picture.height))
        file = io.BytesIO()
        picture.resize(self.size, Image.Resampling.BICUBIC).save(file, "PNG")
        return file.getvalue()


def resize_pictures(
    pictures: Mapping[str, Path],
    root: Path,
    sizes: Sequence[tuple[int, int]] = SIZES,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Write every picture to `<root>/<height>x<width>/<flat stem>.png`.

    The aspect is the size's: 750x1101 is squeezed by 1 %, as in all published numbers. A square
    picture is one of the low-resolution release, whose white border is cut off first.

    Args:
        pictures: by flat name.
        root: where the folders are made.
        sizes: (width, height).
        workers: processes.
        progress: called with (files done, files in all).

    Returns:
        The folders.

    Raises:
        ValueError: pictures cannot be read; the others are made all the same.
    """
    folders = {size: root / f"{size[1]}x{size[0]}" for size in sizes}
    jobs = [
        Resize(path, folder / f"{Path(name).stem}.png", size)
        for size, folder in folders.items()
        for name, path in pictures.items()
    ]
    if failures := run_jobs(jobs, workers, progress):
        raise ValueError(f"{len(failures)} pictures could not be resized, first {failures[0]}")
    return list(folders.values())
