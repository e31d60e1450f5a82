"""A hub on this machine, for this process."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

from leffa.preprocess.densepose.files import write_surface

sys.path.append(str(Path(__file__).parent))
import published
from fake_hub import FakeHub, Repositories
from pairs_table import LEFFA, SIZE, table


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeHub]]:
    """Serves repositories to this process, whose cache is empty."""
    with ExitStack() as stack:

        def start(repositories: Repositories) -> FakeHub:
            hub = FakeHub(repositories)
            address = stack.enter_context(hub.serving())
            monkeypatch.setattr(constants, "ENDPOINT", address)
            template = address + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
            return hub

        yield start


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The released Leffa with all that makes maps."""
    pytest.importorskip("onnx", reason="writes ONNX files; onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return published.publish(tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="session")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What parses photos, alone."""
    pytest.importorskip("onnx", reason="writes ONNX files; onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return published.publish_parsers(tmp_path_factory.mktemp("parsers"))


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The released Leffa, without what makes maps."""
    return published.publish(tmp_path_factory.mktemp("released"), tools=False)


@pytest.fixture
def hub(serve: Callable[..., FakeHub], released: dict[str, bytes]) -> FakeHub:
    return serve({LEFFA: dict(released)})


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A table of one pair, whose mask and DensePose are there."""
    published.photo(size=SIZE).save(tmp_path / "anna.png")
    striped = np.tile(np.arange(SIZE[0], dtype=np.uint8), (SIZE[1], 1))
    Image.fromarray(np.stack([striped, striped // 2, striped // 3], -1)).save(tmp_path / "coat.png")
    body = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    body[60:150, 80:160] = (2, 100, 50)
    for encoding in ("colour", "labels", "iuv"):
        write_surface(body, tmp_path / f"{encoding}.png", encoding)
    Image.fromarray(body[..., 0] > 0).convert("L").save(tmp_path / "mask.png")
    return table(tmp_path, [{"mask": "mask.png"}])
