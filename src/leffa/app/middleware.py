"""ASGI middleware with the limits on requests that gradio does not have.

Gradio limits the size of one file, the queue and the age of its cache; it refuses paths outside its
upload folder and private addresses. It takes a thousand files in a request, JSON of any size and
bodies that never end, and it downloads whatever public address a client names.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_FILES_PER_REQUEST = 4  # more than any part of the page sends
_JSON_BYTES = 4_000_000  # the page sends a mask and the image below it, both scaled down
_SECONDS = 600.0  # for a whole body, however it trickles in
_REMOTE = ("http:", "https:")
# `/file=`, its older form `/file/`; proxies before this server may have merged two slashes.
_REMOTE_FILE = re.compile(r"/file[=/][/\s]*https?:", re.IGNORECASE)
# Gradio's routes that give a visitor's file to ffmpeg, keep files after the session, and hold
# data of any size in memory; the page uses none of them.
_UNUSED = ("/process_recording", "/deep_link", "/component_server", "/component_server/")


class _RemoteFile(Exception):
    """A request names a file by its address."""


class UploadLimitMiddleware:
    """Refuses requests that are too large or too slow, and files named by an address."""

    def __init__(self, app: App, file_bytes: int, seconds: float = _SECONDS) -> None:
        self.app = app
        self.seconds = seconds
        self.upload_bytes = _FILES_PER_REQUEST * file_bytes + 100_000  # with the multipart headers

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _REMOTE_FILE.search(path) or path.endswith(_UNUSED):
            await _refusal(403, "this server does not offer that")(scope, receive, send)
        elif scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif path.endswith("/upload"):  # written to a file as it comes
            await self.app(scope, self._limited(receive, self.upload_bytes), send)
        else:
            await self._post(scope, self._limited(receive, _JSON_BYTES), send)

    async def _post(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            body = await Request(scope, receive).body()
            check_no_remote_file(body, anywhere="/mcp" in scope["path"])
        except MultiPartException as error:
            status = 413 if "size" in error.message else 408
            await _refusal(status, error.message)(scope, receive, send)
        except _RemoteFile:
            reason = "upload the file; it is not fetched from an address"
            await _refusal(400, reason)(scope, receive, send)
        else:
            await self.app(scope, _replay(body, receive), send)

    def _limited(self, receive: Receive, limit: int) -> Receive:
        """`receive`, which raises where a body is too large or too slow, or its client leaves.

        It is gradio's own error, on which alone it deletes what has come of an upload.
        """
        clock = asyncio.get_running_loop().time
        end, size, more = clock() + self.seconds, 0, True

        async def limited() -> Message:
            nonlocal size, more
            if not more:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), end - clock())
            except TimeoutError:
                raise MultiPartException(
                    "the request took too long to arrive; send it again"
                ) from None
            if message["type"] != "http.request":
                raise MultiPartException("the client has disconnected")
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            if size > limit:
                raise MultiPartException(f"the maximum allowed size of a request is {limit} bytes")
            return message

        return limited


def check_no_remote_file(body: bytes, anywhere: bool = False) -> None:
    """Raise `_RemoteFile` where JSON names a file by an address instead of its upload's path.

    Args:
        anywhere: under whatever name, as tools are called.
    """

    def check(value: dict[str, Any]) -> None:
        for text in value.values() if anywhere else [value.get("path")]:
            if str(text).lower().lstrip().startswith(_REMOTE):
                raise _RemoteFile

    try:
        json.loads(body, object_hook=check)
    except (ValueError, RecursionError):
        return  # gradio refuses it


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body, then whatever the server says (that the client has left)."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": reason}, status)
