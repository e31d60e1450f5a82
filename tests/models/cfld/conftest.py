"""A pretrained tiny base, a model on it, and batches with a pose."""

import sys
from pathlib import Path

import pytest
import torch

from leffa.data.batch import Batch
from leffa.models.cfld import CFLD

sys.path.append(str(Path(__file__).parent))
from cfld_parts import UNET, build
from model_parts import MakeBatch, save_base


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pretrained tiny base."""
    return save_base(tmp_path_factory.mktemp("base"), UNET)


@pytest.fixture
def model(base: Path) -> CFLD:
    return build(base)


@pytest.fixture
def with_pose(make_batch: MakeBatch) -> MakeBatch:
    """Makes a batch of noise that has a pose."""

    def make(count: int = 2, height: int = 16, width: int = 12) -> Batch:
        batch = make_batch(count, height, width)
        generator = torch.Generator().manual_seed(6)
        batch["pose"] = torch.rand(count, 21, height, width, generator=generator)
        return batch

    return make
