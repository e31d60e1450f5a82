"""A tiny model with random weights."""

import sys
from pathlib import Path

import pytest

from leffa.models.catvton_flux import CatVTONFlux

sys.path.append(str(Path(__file__).parent))
from catvton_flux_parts import build


@pytest.fixture
def model() -> CatVTONFlux:
    return build()
