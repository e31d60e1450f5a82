"""DeepFashion's pictures at the sizes that pose transfer is trained and scored at.

Worker processes import this, so it imports no torch.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from leffa.io.pictures import open_picture
from leffa.preprocess.prepare.jobs import Progress, make_files

SIZES = ((176, 256), (352, 512))  # CFLD, section 4.1; Leffa, section 4.1

# The low-resolution release centres a picture of 176x256 on a white square (PATN's crop).
_SQUARE, _BORDER = 256, 40


def resized(path: Path, size: tuple[int, int]) -> Image.Image:
    """A picture at another size, by Pillow's bicubic filter (PIDM, `prepare_data.py`).

    The aspect is the size's: 750x1101 is squeezed by 1 %, as in all published numbers. A square
    picture is one of the low-resolution release, whose white border is cut off first.
    """
    picture = open_picture(path)
    if picture.width == picture.height:
        left = picture.width * _BORDER / _SQUARE
        picture = picture.crop((round(left), 0, round(picture.width - left), picture.height))
    return picture.resize(size, Image.Resampling.BICUBIC)


def resize_pictures(
    pictures: Mapping[str, Path],
    root: Path,
    sizes: Sequence[tuple[int, int]] = SIZES,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Write every picture, by flat name, to `<root>/<height>x<width>/<flat stem>.png`.

    Returns:
        The folders.

    Raises:
        ValueError: pictures cannot be read; the others are made all the same.
    """
    folders = {size: root / f"{size[1]}x{size[0]}" for size in sizes}
    jobs = {
        folder / f"{Path(name).stem}.png": partial(resized, path, size)
        for size, folder in folders.items()
        for name, path in pictures.items()
    }
    make_files(jobs, "pictures", workers, progress)
    return list(folders.values())
