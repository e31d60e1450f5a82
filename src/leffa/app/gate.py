"""What reaches the server at all: a wall before gradio, which would take more than the page needs.

- A request's body is counted as it comes in and cut off above the limit, where nothing comes for a
  while, or where it takes too long. Gradio limits each file, but takes a thousand of them at once.
- A file is never fetched from an address: gradio would download what a client names, of any size,
  and would pass on any public page through its file route.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_FILES_AT_ONCE = 4  # of a request: more than any part of the page sends
_PATIENCE = 30.0  # seconds without a byte
_LONGEST = 600.0  # seconds for a whole request, though its bytes trickle in
_ADDRESSES = ("http:", "https:", "ftp:", "data:")


class Gate:
    """ASGI middleware.

    Args:
        app: what stands behind.
        file_bytes: the largest file.
        patience: seconds without a byte after which a request is given up.
        longest: seconds after which it is given up in any case.
    """

    def __init__(
        self, app: App, file_bytes: int, patience: float = _PATIENCE, longest: float = _LONGEST
    ) -> None:
        self.app = app
        self.patience = patience
        self.longest = longest
        self.most = _FILES_AT_ONCE * file_bytes + 100_000  # and what surrounds the files

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _names_an_address(scope["path"]):
            await _refuse(send, 403, "this server hands out its own files only")
        elif scope["method"] == "POST":
            await self._post(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _post(self, scope: Message, receive: Receive, send: Send) -> None:
        too_large = f"at most {self.most} bytes are taken in one request"
        if _length(scope) > self.most:
            await _refuse(send, 413, too_large)
            return
        body = bytearray()
        clock = asyncio.get_running_loop().time
        end = clock() + self.longest
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), min(self.patience, end - clock()))
            except TimeoutError:
                await _refuse(send, 408, "the request came too slowly; send it again")
                return
            if message["type"] != "http.request":
                return  # the client has gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.most:
                await _refuse(send, 413, too_large)
                return
        if _is_json(scope) and fetches(bytes(body)):
            await _refuse(send, 400, "upload the file; it is not fetched from an address")
            return
        await self.app(scope, _replay(bytes(body), receive), send)


def fetches(body: bytes) -> bool:
    """Whether a JSON body names a file by an address instead of the path of its upload."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False  # gradio refuses it
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and path.lower().lstrip().startswith(_ADDRESSES):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def _names_an_address(path: str) -> bool:
    _, found, rest = path.partition("/file=")
    return bool(found) and rest.lower().lstrip("/ ").startswith(_ADDRESSES)


def _length(scope: Message) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _is_json(scope: Message) -> bool:
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return not any(kind.startswith(b"multipart/") for kind in kinds)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever the server says (that the client has gone)."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
