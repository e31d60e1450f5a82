"""One tiny model for all tests of it, and something to show it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.idm_vton import IDMVTON

sys.path.append(str(Path(__file__).parent))
from idm_vton_parts import CLIP, build


@pytest.fixture(scope="session")
def model() -> IDMVTON:
    return build()


@pytest.fixture
def batch(make_batch: Callable[..., Batch]) -> Batch:
    return make_batch()


@pytest.fixture
def noisy() -> Tensor:
    return torch.randn(2, 4, 8, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained image encoder."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder") / "clip"
    config = transformers.CLIPVisionConfig(**CLIP)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder
