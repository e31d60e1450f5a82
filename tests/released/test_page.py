"""`leffa app --released` against a hub on this machine that serves tiny released models."""

import gc
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.photo_to_picture import request

sys.path.append(str(Path(__file__).parent))
import published
from fake_hub import FakeHub

pytest.importorskip("gradio", reason="needs the extra `app`")
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from leffa.app import server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.filterwarnings("ignore:The copy keyword"),
    pytest.mark.usefixtures("sweep"),
]
SIZE = (240, 320)
USUAL = {
    "mask": None,
    "densepose": None,
    "category": "upper_body",
    "steps": 1,
    "guidance": 2.5,
    "seed": 42,
    "sampler": "ddpm",
    "paste_back": False,
}


@pytest.fixture(scope="module")
def sweep() -> Iterator[None]:
    """Event loops that gradio leaves open must not be found during the tests of others."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_both_tabs_prepare_photos_and_load_their_weights_when_first_used(
    serve: Callable[..., FakeHub],
    everything: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub = serve({published.LEFFA: everything})
    photos = {"person": published.photo(size=SIZE), "two": published.photo(two_people(), SIZE)}
    for name, photo in photos.items():
        photo.save(tmp_path / f"{name}.png")
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "garment.png")
    files = {name: handle_file(tmp_path / f"{name}.png") for name in (*photos, "garment")}
    loaded: list[str] = []
    load = request.load_model
    monkeypatch.setattr(
        request, "load_model", lambda file, **how: loaded.append(file.name) or load(file, **how)
    )

    def visit() -> None:
        told = capsys.readouterr().out
        assert told.index("VITON-HD, which is for non-comm") < told.index("leffa_pose: fetched")
        hub.asked.clear()
        address = told.splitlines()[-1].split()[0]
        with closing(Client(address, verbose=False, download_files=str(tmp_path / "got"))) as page:

            def ask(person: str, reference: str, task: str, **changes: Any) -> dict[str, Any]:
                given = {"person": files[person], "reference": files[reference]} | USUAL | changes
                picture, settings = page.predict(**given, api_name=f"/{task}")
                with Image.open(picture) as image:
                    assert image.size == SIZE
                return json.loads(Path(settings).read_text())

            assert loaded == []
            with pytest.raises(AppError, match="shows 2 people; crop it"):
                ask("two", "garment", "tryon")
            assert loaded == []
            used = ask("person", "garment", "tryon")
            assert loaded == ["virtual_tryon.pth"]
            sampler = used["sampler"]
            assert (sampler["noise"], sampler["guidance_rescale"]) == ("global", 2.5)
            dress = ask("person", "garment", "tryon", category="dresses")
            assert dress["inputs"]["densepose"] == "labels"
            pose = ask("person", "person", "pose")
            assert pose["inputs"]["densepose"] == "iuv"
            ask("person", "garment", "tryon", seed=1)
        assert loaded == ["virtual_tryon.pth", "virtual_tryon_dc.pth", "pose_transfer.pth"]
        assert hub.downloads() == []

    monkeypatch.setattr(server, "wait_for_the_end", visit)
    assert main(["app", "--released", "--device", "cpu"]) == 0


def two_people() -> np.ndarray:
    return np.r_[published.JOINTS * 0.45, published.JOINTS * 0.45 + (0.5, 0.5)]
