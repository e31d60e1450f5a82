"""Small data sets on disk, written once."""

from pathlib import Path

import pytest

from leffa.synthetic.write import write_dress_code, write_viton_hd

HEIGHT, WIDTH = 64, 48


@pytest.fixture(scope="session")
def viton_hd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("viton_hd")
    write_viton_hd(root, train=2, test=3, seed=4, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="session")
def dress_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dress_code")
    write_dress_code(root, train=1, test=2, seed=4, height=HEIGHT, width=WIDTH)
    return root
