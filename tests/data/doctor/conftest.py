"""Sound copies of every layout, and one to be damaged."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leffa.synthetic.write import write_dataset

sys.path.append(str(Path(__file__).parent))
from damages import LAYOUTS


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    for layout in LAYOUTS:
        train = 0 if layout == "wpose" else 2
        write_dataset(layout, root / layout, train, 3, height=96, width=72)
    return root


@pytest.fixture
def broken(copies: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a sound data set, to be damaged."""

    def copy(layout: str) -> Path:
        return Path(shutil.copytree(copies / layout, tmp_path / layout))

    return copy
