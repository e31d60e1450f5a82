"""Pretrained tiny bases, and a model on one."""

import sys
from pathlib import Path

import pytest

from leffa.models.catvton import CatVTON

sys.path.append(str(Path(__file__).parent))
from catvton_parts import Bases, build
from model_parts import SD15, save_base


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Folders of a pretrained tiny base, by the input channels of its UNet."""
    folder = tmp_path_factory.mktemp("bases")

    def base(channels: int = 9) -> Path:
        place = folder / str(channels)
        return place if place.is_dir() else save_base(place, SD15 | {"in_channels": channels})

    return base


@pytest.fixture
def model(bases: Bases) -> CatVTON:
    return build(bases(9))
