"""A hub on this machine, for this process."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from huggingface_hub import constants

sys.path.append(str(Path(__file__).parent))
import published
from fake_hub import FakeHub, Repositories


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
