"""The limits on requests that gradio does not have: each beside gradio alone, which has it not."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from leffa.app.middleware import UploadLimitMiddleware, _RemoteFile, check_no_remote_file

from .visitor import OF_GRADIO

pytest.importorskip("gradio", reason="needs the extra `app`")
import gradio
from starlette.middleware import Middleware
from starlette.testclient import TestClient

pytestmark = OF_GRADIO
ROOT = "/gradio_api"


@dataclass(frozen=True)
class Servers:
    """The same page, which takes files of 1000 bytes, by gradio alone and with the middleware."""

    alone: TestClient
    limited: TestClient
    uploads: Path


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    uploads = tmp_path_factory.mktemp("uploads")
    with gradio.Blocks(analytics_enabled=False) as page:
        file = gradio.File()
        file.change(lambda given: None, file, None, api_name="take", preprocess=False)
    page.max_file_size = 1000
    middleware = Middleware(UploadLimitMiddleware, file_bytes=1000, seconds=0.5)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        clients = []
        for wall in ([], [middleware]):
            app = gradio.routes.App.create_app(page, app_kwargs={"middleware": wall})
            client = TestClient(app, raise_server_exceptions=False)
            clients.append(stack.enter_context(client))
        yield Servers(*clients, uploads)


def test_all_files_of_a_request_have_a_limit_and_leave_nothing(servers: Servers) -> None:
    files = [("files", (f"{number}.png", bytes(900))) for number in range(200)]
    assert servers.alone.post(f"{ROOT}/upload", files=files).status_code == 200
    before = set(servers.uploads.rglob("*"))
    answer = servers.limited.post(f"{ROOT}/upload", files=files)
    assert answer.status_code == 413
    assert "maximum allowed size" in answer.text
    assert set(servers.uploads.rglob("*")) == before
    assert servers.limited.post(f"{ROOT}/upload", files=files[:4]).status_code == 200


def test_json_has_a_limit(servers: Servers) -> None:
    # Read whole, it takes twenty times the memory of its bytes.
    bomb = b"[" + b"[]," * 1_500_000
    assert servers.alone.post(f"{ROOT}/queue/join", content=bomb).status_code == 422
    assert servers.limited.post(f"{ROOT}/queue/join", content=bomb).status_code == 413


@pytest.mark.parametrize("route", ["queue/join", "upload"])
def test_a_client_that_sends_no_more_is_given_up(servers: Servers, route: str) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'

    async def trickle(app: Any) -> list[dict[str, Any]]:
        first = [{"type": "http.request", "body": form, "more_body": True}]
        answers: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not first:
                await asyncio.Event().wait()
            return first.pop()

        async def send(message: Any) -> None:
            answers.append(message)

        kind = b"multipart/form-data; boundary=x" if route == "upload" else b"application/json"
        scope = {"type": "http", "method": "POST", "path": f"{ROOT}/{route}", "root_path": ""}
        scope |= {"headers": [(b"content-type", kind)], "query_string": b"", "app": app}
        await asyncio.wait_for(app(scope, receive, send), 1.5)
        return answers

    with pytest.raises(TimeoutError):
        asyncio.run(trickle(servers.alone.app))
    start, body = asyncio.run(trickle(servers.limited.app))
    assert start["status"] in (400, 408)
    assert b"too long to arrive" in body["body"]


def test_a_tool_is_given_no_address_under_any_name() -> None:
    call = b'{"params": {"arguments": {"person": " HTTP://127.0.0.1/a.png"}}}'
    check_no_remote_file(call)
    with pytest.raises(_RemoteFile):
        check_no_remote_file(call, anywhere=True)
    check_no_remote_file(b'{"params": {"arguments": {"person": "data:image/png;base64,"}}}', True)


def test_a_file_named_by_an_address_is_not_downloaded(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    async def download(url: str, cache_dir: str) -> str:
        fetched.append(url)
        raise ValueError

    monkeypatch.setattr(gradio.processing_utils, "async_ssrf_protected_download", download)
    url = "https://example.org/a.png"
    data = {"data": [{"path": url, "meta": {"_type": "gradio.FileData"}}]}
    servers.alone.post(f"{ROOT}/run/take", json=data)
    assert fetched == [url]
    answer = servers.limited.post(f"{ROOT}/run/take", json=data)
    assert answer.status_code == 400
    assert "upload the file; it is not fetched" in answer.text
    assert fetched == [url]


def test_an_address_is_found_however_deep_and_however_written() -> None:
    from leffa.app import middleware

    for path in ("http://10.0.0.1/a.png", "HTTPS://example.org/a.png", " http://a"):
        body = json.dumps({"data": [1, {"deep": [{"path": path}]}]}).replace("h", "\\u0068", 1)
        with pytest.raises(middleware._RemoteFile):
            check_no_remote_file(body.encode())
    harmless = {"data": [{"path": "/tmp/x.png", "url": "http://127.0.0.1/file=/tmp/x"}, "http:"]}
    for content in (json.dumps(harmless).encode(), b"no json", b"[" * 100_000):
        check_no_remote_file(content)


def test_no_public_page_is_passed_on(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    async def fetch(url: str, request: Any) -> None:
        fetched.append(url)

    monkeypatch.setattr(gradio.routes, "secure_url_stream_response", fetch)
    servers.alone.get(f"{ROOT}/file=https://example.org/a")
    assert fetched == ["https://example.org/a"]
    client = servers.limited
    for written in ("=https://example.org/a", "/HTTP:/example.org", "=%2F%2Fhttp://a"):
        for ask in (client.get, client.head):
            assert ask(f"{ROOT}/file{written}").status_code == 403
    assert len(fetched) == 1
    assert client.get(f"{ROOT}/file=/tmp/https/a.png").json()["detail"].startswith("File not")


@pytest.mark.parametrize(
    "route", ["deep_link?session_hash=a", "process_recording", "component_server"]
)
def test_routes_that_the_page_does_not_use_are_closed(servers: Servers, route: str) -> None:
    files = {"video": ("a.mp4", b"#EXTM3U")}
    for limited, client in ((False, servers.alone), (True, servers.limited)):
        answers = client.get(f"{ROOT}/{route}"), client.post(f"{ROOT}/{route}", files=files)
        assert all(each.status_code == 403 for each in answers) == limited
