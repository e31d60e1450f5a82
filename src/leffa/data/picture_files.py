"""Which files of a user's folder are pictures."""

from pathlib import Path

from leffa.data.layout import names_in

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def pictures_by_name(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without the suffix, sorted; hidden files are none.

    Raises:
        ValueError: two have one name, so the maps of the one would be taken for the other's.
    """
    found: dict[str, Path] = {}
    for name in sorted(names_in(folder)):
        path = folder / name
        if path.suffix.lower() in SUFFIXES and not name.startswith("."):
            if path.stem in found:
                raise ValueError(f"{path} and {found[path.stem].name} have one name; remove one")
            found[path.stem] = path
    return found


def other_files(folder: Path) -> list[Path]:
    """What is neither a picture by its suffix, nor hidden, nor a folder: `.heic`, for example."""
    paths = [folder / name for name in sorted(names_in(folder)) if not name.startswith(".")]
    return [path for path in paths if path.suffix.lower() not in SUFFIXES and path.is_file()]
