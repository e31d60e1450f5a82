"""A published FitDiT, tiny: the base of most tests, and what its authors' code returns for it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

sys.path.append(str(Path(__file__).parent))
from fitdit_parts import build

from leffa.models.fitdit import FitDiT


@pytest.fixture(scope="session")
def published(recordings: Callable[[str], Path]) -> Path:
    return recordings("fitdit")


@pytest.fixture(scope="session")
def golden(published: Path) -> dict[str, Tensor]:
    return load_file(published / "golden.safetensors")


@pytest.fixture(scope="session")
def recorded(published: Path) -> FitDiT:
    """Only looked at, never changed."""
    return build(published, pooled="clip").eval()
