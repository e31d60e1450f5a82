"""Small synthetic downloads."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leffa.synthetic.write import write_dataset

LAYOUTS = ("viton_hd", "dress_code", "deepfashion", "market1501", "folder")


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("downloads")
    for layout in LAYOUTS:
        write_dataset(layout, root / layout, 3, 3, height=96, width=72)
    return root


@pytest.fixture
def download(downloads: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a data set, to be changed."""
    return lambda layout: Path(shutil.copytree(downloads / layout, tmp_path / layout))


@pytest.fixture
def maskless(download: Callable[[str], Path]) -> Iterator[Path]:
    """VITON-HD as copies without masks have it."""
    root = download("viton_hd")
    for split in ("train", "test"):
        shutil.rmtree(root / split / "agnostic-mask")
    yield root
