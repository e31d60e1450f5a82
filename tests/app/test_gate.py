"""The wall before gradio: bytes of a request, and no fetching from addresses."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from leffa.app.gate import Gate, fetches

HARMLESS = {"data": [{"path": "/tmp/x.png", "url": "http://127.0.0.1/file=/tmp/x.png"}, "http:"]}


async def serve(
    gate_of: int,
    chunks: Iterable[bytes],
    path: str = "/upload",
    kind: str = "application/json",
    length: int | None = None,
    method: str = "POST",
    pause: float = 0.0,
    times: dict[str, float] | None = None,
) -> tuple[int, bytes | None]:
    """The status of the answer, and the body that came through (None: nothing did)."""
    seen: list[bytes] = []
    answers: list[dict[str, Any]] = []
    waiting = list(chunks)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        body = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"content-type", kind.encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    await Gate(app, gate_of, **(times or {}))(scope, receive, send)
    return answers[0]["status"], b"".join(seen) if seen else None


def test_a_body_goes_through_as_it_came() -> None:
    body = json.dumps(HARMLESS).encode()
    assert asyncio.run(serve(1000, [body[:9], body[9:]])) == (200, body)


def test_a_body_is_cut_off_above_the_limit_whatever_it_says_of_its_length() -> None:
    most = 4 * 1000 + 100_000
    chunks = [bytes(10_000)] * 20
    assert asyncio.run(serve(1000, chunks, kind="multipart/form-data")) == (413, None)
    assert asyncio.run(serve(1000, chunks, length=5, kind="multipart/form-data"))[0] == 413
    assert asyncio.run(serve(1000, [], length=most + 1))[0] == 413
    assert asyncio.run(serve(1000, [bytes(most)], kind="multipart/form-data"))[0] == 200


def test_a_client_that_sends_a_byte_now_and_then_is_given_up() -> None:
    times = {"patience": 30.0, "longest": 0.3}
    assert asyncio.run(serve(1000, [b"{"] * 1000, pause=0.02, times=times)) == (408, None)


def test_a_client_that_sends_nothing_more_is_given_up() -> None:
    times = {"patience": 0.05, "longest": 30.0}
    assert asyncio.run(serve(1000, [b"{"], pause=60, times=times)) == (408, None)


@pytest.mark.parametrize(
    "path", ["http://10.0.0.1/a.png", "HTTPS://example.org/a.png", " ftp://a/b", "data:image/png;,"]
)
def test_a_file_named_by_an_address_is_refused(path: str) -> None:
    body = json.dumps({"data": [1, {"deep": [{"path": path}]}]}).encode()
    assert fetches(body)
    assert asyncio.run(serve(1000, [body])) == (400, None)


def test_an_address_beside_an_uploaded_path_is_nothing_to_fetch() -> None:
    assert not fetches(json.dumps(HARMLESS).encode())
    assert not fetches(b"no json")
    assert not fetches(b"[" * 100_000)


def test_the_file_route_passes_no_other_page_on() -> None:
    get = {"kind": "", "method": "GET"}
    assert asyncio.run(serve(9, [], path="/gradio_api/file=http://example.org", **get))[0] == 403
    assert asyncio.run(serve(9, [], path="/gradio_api/file=/tmp/a.png", **get))[0] == 200
