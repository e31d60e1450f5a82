"""The server as programs see it: the endpoints, what they refuse, and that nothing stays."""

import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from PIL import Image

from leffa.app import ui_text
from leffa.app.handler import RequestHandler
from leffa.app.limits import Limits
from leffa.app.sessions import Session
from leffa.inference import LoadedModel
from leffa.photo_to_picture import Weights
from leffa.preprocess.photo import Tools

from .test_limits import bomb
from .visitor import OF_GRADIO

pytest.importorskip("gradio", reason="needs the extra `app`")
import gradio
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from leffa.app.server import served
from leffa.app.settings import Serving

pytestmark = [pytest.mark.slow, *OF_GRADIO]
DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md"
SOON = 60  # seconds, on a busy machine


@dataclass(frozen=True)
class House:
    """A running page, and the folder in which it keeps everything."""

    address: str
    folder: Path

    def files(self) -> set[Path]:
        """All files but the synthetic examples, which every visitor needs."""
        found = {path for path in self.folder.rglob("*") if path.is_file()}
        return {path for path in found if not re.fullmatch(r"\d\.png", path.name)}

    def client(self) -> Client:
        return Client(self.address, verbose=False, download_files=str(self.folder.parent / "got"))


@pytest.fixture(scope="module")
def house(
    trained: LoadedModel,
    trained_pose: LoadedModel,
    weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    models = {"tryon": [Weights.of(trained, weights)], "pose": [Weights.of(trained_pose, weights)]}
    limits = Limits(megabytes=1, megapixels=2, steps=2000, waiting=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(root))
        # None of these may open what is closed.
        patch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
        patch.setenv("GRADIO_SHARE", "True")
        patch.setenv("GRADIO_ALLOWED_PATHS", "/")
        with served(models, Tools(), Serving(device="cpu", limits=limits)) as address:
            (folder,) = root.glob("leffa_app_*")
            yield House(address, folder)
    assert not folder.exists()


@pytest.fixture
def files(handler: RequestHandler, session: Session, tmp_path: Path) -> dict[str, Path]:
    """A person with mask and map, and a garment, under the names of the example."""
    examples = handler.maps.examples
    with Image.open(examples.persons[0]) as image:
        person = image.convert("RGB")
    maps = handler.maps.make(person, "upper_body", session.folder)
    assert maps.mask is not None and maps.densepose is not None
    files = {
        "person": tmp_path / "person.jpg",
        "reference": tmp_path / "garment.jpg",
        "mask": tmp_path / "mask.png",
        "densepose": tmp_path / "iuv.png",
    }
    person.save(files["person"], quality=95)
    with Image.open(examples.references[0]) as image:
        image.convert("RGB").save(files["reference"], quality=95)
    files["mask"].write_bytes(maps.mask.read_bytes())
    files["densepose"].write_bytes(maps.densepose.read_bytes())
    return files


def ask(client: Client, files: dict[str, Path], **changes: Any) -> Any:
    """Submit a try-on; gives gradio's job."""
    given: dict[str, Any] = {name: handle_file(path) for name, path in files.items()}
    usual = {"category": "upper_body", "steps": 2, "guidance": 1.5, "seed": 7, "sampler": "ddim"}
    return client.submit(**given | usual | {"paste_back": True} | changes, api_name="/tryon")


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + SOON
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def example_of(text: str) -> str:
    return text.split("```python\n")[1].split("```")[0]


def test_the_documented_client_example_runs_as_it_stands(
    house: House, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = example_of(DOCS.read_text(encoding="utf-8"))
    assert example == example_of(ui_text.api())
    monkeypatch.chdir(files["person"].parent)
    names: dict[str, Any] = {}
    exec(example.replace(ui_text.ADDRESS, house.address), names)
    with Image.open(names["image"]) as picture, Image.open(files["person"]) as person:
        assert (picture.format, picture.size) == ("PNG", person.size)
    settings = json.loads(Path(names["settings"]).read_text())
    assert settings["sampler"]["steps"] == 20
    assert settings["files"]["source"]["path"] == "person.png"
    names["client"].close()


def test_pose_transfer_is_an_endpoint_too(house: House, pose_handler: RequestHandler) -> None:
    examples = pose_handler.maps.examples
    with closing(house.client()) as client:
        picture, settings = client.predict(
            person=handle_file(examples.persons[0]),
            reference=handle_file(examples.references[1]),
            mask=None,
            densepose=None,  # known, of a synthetic person
            category="upper_body",
            steps=1,
            guidance=1,
            seed=0,
            sampler="ddim",
            paste_back=False,
            api_name="/pose",
        )
        made = json.loads(Path(settings).read_text())
        assert (made["inputs"]["task"], made["sampler"]["seed"]) == ("pose", 0)
        assert Path(picture).is_file()


def test_nothing_stays_of_a_client_that_has_left(house: House, files: dict[str, Path]) -> None:
    assert eventually(lambda: not house.files())  # of the clients before
    with closing(house.client()) as client:
        ask(client, files).result(SOON)
        there = {path.name for path in house.files()}
        assert {"person.jpg", "garment.jpg", "tryon.png"} <= there
    assert eventually(lambda: not house.files()), house.files()


def test_leaving_stops_the_work_and_a_full_queue_says_so(
    house: House, files: dict[str, Path]
) -> None:
    first, second, third = (house.client() for _ in range(3))
    running = ask(first, files, steps=1000)
    assert eventually(lambda: running.status().code.name == "PROCESSING")
    waiting = ask(second, files, steps=1)
    assert eventually(lambda: waiting.status().code.name == "IN_QUEUE")
    with pytest.raises(Exception, match=r"(?i)queue is full"):
        ask(third, files, steps=1).result(SOON)
    first.close()
    waiting.result(SOON)  # the model is free again
    for client in (second, third):
        client.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 10**6}, "steps: give a number from 1 to 1000"),
        ({"steps": "many"}, "steps: give a number"),
        ({"seed": 1.5}, "seed: give a whole number"),
        ({"sampler": "magic"}, "sampler: choose one of"),
        ({"mask": None}, "The area to repaint is unknown"),
        ({"person": None}, "The person's photograph is missing"),
    ],
)
def test_a_wrong_value_gets_one_line(
    house: House, files: dict[str, Path], change: dict[str, Any], message: str
) -> None:
    with closing(house.client()) as client, pytest.raises(AppError, match=message):
        ask(client, files, **change).result(SOON)


def test_files_are_judged_by_content_size_and_pixels(
    house: House, files: dict[str, Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with closing(house.client()) as client:
        for file, message in (
            (text, "is not a readable PNG"),
            (bomb(tmp_path / "bomb.png", 20_000), "at most 2 megapixels"),
        ):
            with pytest.raises(AppError, match=f"The person's photograph.*{message}"):
                ask(client, files | {"person": file}).result(SOON)


@pytest.mark.parametrize("megabytes", [1.2, 6])
def test_an_upload_above_the_limit_is_refused(house: House, megabytes: float) -> None:
    content = bytes(int(megabytes * 1e6))
    url = f"{house.address.rstrip('/')}/gradio_api/upload"
    before = house.files()
    assert httpx.post(url, files={"files": ("a.png", content)}).status_code == 413
    assert eventually(lambda: house.files() <= before)


def call(house: House, paths: list[str], meta: dict[str, Any]) -> str:
    """What the server says to a try-on with these files, asked without gradio's client."""
    url = f"{house.address.rstrip('/')}/gradio_api/call/tryon"
    values = [{"path": path} | meta for path in paths]
    values += ["upper_body", 1, 1.5, 7, "ddim", True, False]
    event = httpx.post(url, json={"data": values}).json()["event_id"]
    return httpx.get(f"{url}/{event}", timeout=SOON).text


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_only_a_file_that_was_uploaded_is_read(
    house: House, files: dict[str, Path], meta: dict[str, Any]
) -> None:
    answer = call(house, [str(path) for path in files.values()], meta)
    assert "event: error" in answer
    assert str(files["person"]) not in answer
    content = [("files", (path.name, path.read_bytes())) for path in files.values()]
    sent = httpx.post(f"{house.address.rstrip('/')}/gradio_api/upload", files=content)
    answer = call(house, sent.json(), {"meta": {"_type": "gradio.FileData"}})
    assert "event: complete" in answer


def test_a_program_may_do_without_densepose(house: House, files: dict[str, Path]) -> None:
    with closing(house.client()) as client:
        with pytest.raises(AppError, match="DensePose"):
            ask(client, files, densepose=None).result(SOON)
        ask(client, files, densepose=None, without_densepose=True).result(SOON)


def test_files_of_the_machine_are_not_handed_out(house: House, weights: Path) -> None:
    for path in ("/etc/hostname", weights, DOCS, house.folder / "nothing.png"):
        url = f"{house.address.rstrip('/')}/gradio_api/file={path}"
        assert httpx.get(url).status_code == 403


def test_no_route_of_gradio_fetches_what_an_address_names(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    async def fetch(url: str, request: Any) -> None:
        fetched.append(url)

    monkeypatch.setattr(gradio.routes, "secure_url_stream_response", fetch)
    with gradio.Blocks() as empty:
        pass
    routes = gradio.routes.App.create_app(empty).openapi()["paths"]
    taking = [route for route in routes if re.search(r"\{(path|\w+_path|\w+_or_url)\}", route)]
    assert {f"/gradio_api/{each}" for each in ("file={path_or_url}", "file/{path}")} <= set(taking)
    address = "https://example.org/a.png"
    for route in taking:
        for written in (address, quote(address, safe="")):
            url = house.address.rstrip("/") + re.sub(r"\{.*\}", written, route)
            assert httpx.get(url).status_code in (400, 403, 404), url  # 400: gradio's own
    assert fetched == []


@pytest.mark.parametrize("route", ["deep_link?session_hash=a", "process_recording"])
def test_what_the_page_has_no_use_for_is_closed(house: House, route: str) -> None:
    url = f"{house.address.rstrip('/')}/gradio_api/{route}"
    assert httpx.get(url).status_code == 403
    assert httpx.post(url, files={"video": ("a.mp4", b"#EXTM3U")}).status_code == 403
    for other in ("run-history/connect", "run-history/buckets", "vibe-code", "profiling/traces"):
        assert httpx.get(f"{house.address.rstrip('/')}/gradio_api/{other}").status_code >= 400


def test_only_this_machine_is_listened_to_and_nothing_is_shared(house: House) -> None:
    url = urlsplit(house.address)
    assert url.hostname == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", url.port), timeout=SOON):
        pass
    # A server on all addresses would answer here too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", url.port), timeout=SOON)
    config = httpx.get(f"{house.address.rstrip('/')}/config").json()
    assert "gradio.live" not in json.dumps(config)
    assert Serving().host == "127.0.0.1"
    assert not Serving().share


def test_the_documented_curl_commands_run_as_they_stand(
    house: House, files: dict[str, Path]
) -> None:
    """The last of this page, since the files of such a client stay for hours."""
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    commands = DOCS.read_text(encoding="utf-8").split("```bash\n")[1].split("```")[0]
    commands = commands.replace("http://127.0.0.1:7860", house.address.rstrip("/"))
    folder = files["person"].parent
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=folder, check=True)
    with Image.open(folder / "result.png") as picture, Image.open(files["person"]) as person:
        assert (picture.format, picture.size) == ("PNG", person.size)
