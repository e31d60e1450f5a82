"""Photos of synthetic persons."""

from pathlib import Path

import pytest
from PIL import Image

from leffa.synthetic.render import PersonDrawing, draw_tryon


@pytest.fixture(scope="session")
def drawings() -> dict[str, PersonDrawing]:
    return {
        name: draw_tryon(0, index, 128, 96).person for index, name in enumerate(("anna", "ben"))
    }


@pytest.fixture
def root(tmp_path: Path, drawings: dict[str, PersonDrawing]) -> Path:
    (tmp_path / "persons").mkdir()
    for name, drawing in drawings.items():
        Image.fromarray(drawing.image).save(tmp_path / "persons" / f"{name}.png")
    return tmp_path
