"""Two folders of images, checked before anything is computed on them.

Most wrong numbers in circulation come from wrong folders: a garment among the persons, a missing
prediction, a montage in a sub-folder, one side at another size. Only file headers are read here, so
this costs little.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SHOWN = 5  # names per problem in a message


class FolderMismatch(ValueError):
    """The folders cannot be compared; `problems` lists why, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["cannot score these folders:", *(f"- {p}" for p in problems)]))
        self.problems = problems


@dataclass(frozen=True)
class ImageFile:
    """One image of a folder, from its header: size is (width, height), format the contents' own."""

    path: Path
    size: tuple[int, int]
    mode: str
    format: str

    @property
    def name(self) -> str:
        """The file name without its suffix: what a prediction and its true image share."""
        return self.path.stem


@dataclass(frozen=True)
class ImageFolder:
    """The images of one folder by name, and what is wrong with them."""

    path: Path
    images: dict[str, ImageFile]
    problems: list[str]

    def formats(self) -> dict[str, int]:
        """How many images of each format, by contents: JPEG data may hide in a .png."""
        return dict(Counter(image.format for image in self.images.values()))


def read_folder(path: Path) -> ImageFolder:
    """List and check the images directly in a folder.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; give a folder of images")
    images: dict[str, ImageFile] = {}
    unreadable, twice, not_rgb = [], [], []
    for file in _image_files(path):
        image = _read_header(file)
        if image is None:
            unreadable.append(file.name)
        elif image.name in images:
            twice.append(f"{images[image.name].path.name} and {file.name}")
        else:
            images[image.name] = image
            if image.mode != "RGB":
                not_rgb.append(f"{file.name} ({image.mode})")
    nested = [each.name for each in sorted(path.iterdir()) if each.is_dir() and _image_files(each)]
    problems = [
        *_problem(f"{path}: unreadable, save again", unreadable),
        *_problem(f"{path}: two files of one name, remove one", twice),
        *_problem(f"{path}: not 8-bit RGB, convert", not_rgb),
        *_problem(f"{path}: images in sub-folders, score these by themselves or move them", nested),
    ]
    if not images and not problems:
        problems = [f"{path}: no images ({', '.join(sorted(SUFFIXES))})"]
    return ImageFolder(path, images, problems)


def match(
    pred: ImageFolder, true: ImageFolder, names: Mapping[str, str] | None = None
) -> tuple[list[tuple[ImageFile, ImageFile]], list[str]]:
    """Pair every prediction with its true image; returns the pairs and the problems.

    Args:
        names: the true image's name for each prediction, without suffixes. By default both are
            equal and each true image has its prediction; with `names`, `true` may hold more images.
    """
    wanted = {name: name for name in true.images} if names is None else names
    pairs = [
        (pred.images[p], true.images[t])
        for p, t in sorted(wanted.items())
        if p in pred.images and t in true.images
    ]
    sizes = [
        f"{p.path.name} {p.size[0]}x{p.size[1]} but {t.path.name} {t.size[0]}x{t.size[1]}"
        for p, t in pairs
        if p.size != t.size
    ]
    problems = [
        *_problem("predictions missing", wanted.keys() - pred.images.keys()),
        *_problem("predictions without a true image", pred.images.keys() - wanted.keys()),
        *_problem("true images missing", set(wanted.values()) - true.images.keys()),
        *_problem("sizes differ, resize one side", sizes),
    ]
    return pairs, problems


def _problem(what: str, which: Iterable[str]) -> list[str]:
    """One line that counts and names the first few, or nothing."""
    found = sorted(which)
    if not found:
        return []
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"{what} ({len(found)}): {', '.join(found[:SHOWN])}{more}"]


def _image_files(path: Path) -> list[Path]:
    return sorted(
        file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()
    )


def _read_header(file: Path) -> ImageFile | None:
    """None where the file is no image."""
    try:
        with Image.open(file) as image:
            return ImageFile(file, image.size, image.mode, image.format or "unknown")
    except UnidentifiedImageError:
        return None
