"""The wall before gradio: bytes of a request, and no fetching from addresses."""

import asyncio
import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest

from leffa.app.gate import Gate, fetches

HARMLESS = {"data": [{"path": "/tmp/x.png", "url": "http://127.0.0.1/file=/tmp/x.png"}, "http:"]}


async def serve(
    gate_of: int,
    chunks: Iterable[bytes | asyncio.Event],
    path: str = "/upload",
    kind: str = "application/json",
    length: int | None = None,
    method: str = "POST",
    pause: float = 0.0,
    times: dict[str, float] | None = None,
    gate: Gate | None = None,
) -> tuple[int, bytes | None]:
    """The status of the answer, and the body that came through (None: nothing did).

    An event between the chunks is waited for.
    """
    seen: list[bytes] = []
    answers: list[dict[str, Any]] = []
    waiting = list(chunks)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            seen.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        body = waiting.pop(0) if waiting else b""
        if isinstance(body, asyncio.Event):
            await body.wait()
            body = b""
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"content-type", each.encode()) for each in kind.split(",")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    gate = gate or Gate(app, gate_of, **(times or {}))
    gate.app = app
    await gate(scope, receive, send)
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


def test_json_is_cut_off_where_no_page_sends_so_much() -> None:
    # Read whole, it takes twenty times the memory of its bytes.
    bomb = [b"[" + b"[]," * 350_000] * 4
    assert asyncio.run(serve(20_000_000, bomb)) == (413, None)
    assert asyncio.run(serve(20_000_000, [], length=4_200_000))[0] == 413


def test_a_large_body_arrives_as_it_was_and_takes_no_memory() -> None:
    chunk = bytes(range(256)) * 400

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            start = size % 256
            assert message["body"][:256] == (chunk[:256] * 2)[start : start + 256]
            size, more = size + len(message["body"]), message["more_body"]
        assert size == 150 * len(chunk)

    waiting = [150]

    async def receive() -> dict[str, Any]:
        waiting[0] -= 1
        return {"type": "http.request", "body": chunk, "more_body": waiting[0] > 0}

    kind = [(b"content-type", b"multipart/form-data")]
    scope = {"type": "http", "path": "/upload", "method": "POST", "headers": kind}
    tracemalloc.start()
    try:
        asyncio.run(Gate(app, 20_000_000)(scope, receive, None))  # type: ignore[arg-type]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3_000_000


def test_small_bodies_never_wait_for_large_ones_that_trickle_in() -> None:
    gate = Gate(None, 1_000_000, patience=30, unfinished=4_200_000)  # type: ignore[arg-type]
    form = "multipart/form-data"

    async def together() -> None:
        go_on, chunk = asyncio.Event(), bytes(400_000)
        slow = asyncio.create_task(
            serve(0, [*[chunk] * 8, go_on, *[chunk] * 3], kind=form, gate=gate)
        )
        while sum(gate._files.values()) < 3_200_000:
            await asyncio.sleep(0.001)
        assert (await serve(0, [chunk] * 3, kind=form, gate=gate))[0] == 503  # too much at once
        assert (await serve(0, [bytes(100_000)] * 2, kind=form, gate=gate))[0] == 200
        assert not slow.done()
        go_on.set()
        assert (await slow)[0] == 413
        # Nothing of them counts any more.
        assert (await serve(0, [chunk] * 10, kind=form, gate=gate))[0] == 200

    asyncio.run(together())


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


def test_a_second_kind_hides_no_address() -> None:
    body = json.dumps({"data": [{"path": "http://10.0.0.1/a.png"}]}).encode()
    for kind in ("application/json,multipart/form-data", "multipart/form-data,application/json"):
        assert asyncio.run(serve(1000, [body], kind=kind)) == (400, None)


def test_an_address_beside_an_uploaded_path_is_nothing_to_fetch() -> None:
    assert not fetches(json.dumps(HARMLESS).encode())
    assert not fetches(b"no json")
    assert not fetches(b"[" * 100_000)


@pytest.mark.parametrize("route", ["file=", "file/", "proxy="])
def test_no_route_for_files_passes_another_page_on(route: str) -> None:
    def status(path: str, method: str = "GET") -> int:
        where = f"/gradio_api/{route}{path}"
        return asyncio.run(serve(9, [], path=where, kind="", method=method))[0]

    for address in ("https://example.org/a", "HTTP:/example.org", "//http://a", " data:,"):
        assert status(address) == 403
        assert status(address, "HEAD") == 403
    assert status("x/file/https://example.org/a") == 403
    for path in ("/tmp/a.png", "/tmp/https/a.png", "/tmp/http.png"):
        assert status(path) == 200
