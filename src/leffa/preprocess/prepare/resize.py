"""DeepFashion's images at the sizes that pose transfer is trained and scored at."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from leffa.data.catalog import DEEPFASHION
from leffa.data.catalog.spec import SPLITS
from leffa.io.pictures import open_picture
from leffa.preprocess.prepare.jobs import Progress, make_files

SIZES = ((176, 256), (352, 512))  # CFLD, section 4.1; Leffa, section 4.1

# The low-resolution release centres an image of 176x256 on a white square (PATN's crop).
_SQUARE, _BORDER = 256, 40


def resized(path: Path, size: tuple[int, int]) -> Image.Image:
    """An image at another size, by Pillow's bicubic filter (PIDM, `prepare_data.py`).

    The aspect is the size's: 750x1101 is squeezed by 1 %, as in all published numbers. A square
    image is one of the low-resolution release, whose white border is cut off first.
    """
    picture = open_picture(path)
    if picture.width == picture.height:
        left = picture.width * _BORDER / _SQUARE
        picture = picture.crop((round(left), 0, round(picture.width - left), picture.height))
    return picture.resize(size, Image.Resampling.BICUBIC)


def resize_deepfashion(
    root: Path,
    sizes: Sequence[tuple[int, int]] = SIZES,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Write every listed image to `<root>/<height>x<width>/<flat stem>.png`.

    Args:
        sizes: (width, height).

    Returns:
        The folders.

    Raises:
        FileNotFoundError: lists or images are missing; the message says where to ask for them.
        ValueError: images cannot be read; the others were made.
    """
    pictures = _listed_pictures(root)
    folders = {size: root / f"{size[1]}x{size[0]}" for size in sizes}
    jobs = {
        folder / f"{Path(name).stem}.png": partial(resized, path, size)
        for size, folder in folders.items()
        for name, path in pictures.items()
    }
    make_files(jobs, "images", workers, progress)
    return list(folders.values())


def _listed_pictures(root: Path) -> dict[str, Path]:
    """Every image named in the lists of images and of pairs, by its flat name."""
    # Here, since they import torch, and the worker processes import this module.
    from leffa.data.deepfashion import find_pictures
    from leffa.data.layout import read_csv_pairs, read_lines

    found: dict[str, Path] = {}
    for split in SPLITS:
        names = set(read_lines(root / f"{split}.lst"))
        pairs = DEEPFASHION.group(split).listing(split).find(root)
        if pairs is not None:
            names.update(name for pair in read_csv_pairs(pairs) for name in pair)
        locate = find_pictures(root, split, None)
        found |= {name: locate(name) for name in sorted(names)}
    missing = [path for path in found.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]}: no such image, and {len(missing) - 1:,} more of {len(found):,} are "
            f"missing; ask for the dataset at {DEEPFASHION.page}"
        )
    return found
