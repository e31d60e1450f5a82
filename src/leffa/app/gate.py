"""What reaches the server at all: a wall before gradio, which would take more than the page needs.

- A request's body is counted as it comes in and cut off above the limit, where nothing comes for a
  while, or where it takes too long. Gradio limits each file, but takes a thousand of them at once.
- Until it is whole, a large body lies in a file and takes no memory, so nobody has to wait for the
  body of somebody else, however slowly that comes.
- A file is never fetched from an address: gradio would download what a client names, of any size,
  and would pass on any public page through its file routes.
"""

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from tempfile import SpooledTemporaryFile
from typing import IO, Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_FILES_AT_ONCE = 4  # of a request: more than any part of the page sends
_LARGEST_JSON = 4_000_000  # bytes; the page sends a mask and the picture below it, both made small
_IN_MEMORY = 250_000  # bytes of a body; what is more lies in a file
_UNFINISHED = 4_000_000_000  # bytes of all bodies that lie in files
_PATIENCE = 30.0  # seconds without a byte
_LONGEST = 600.0  # seconds for a whole request, though its bytes trickle in
_ADDRESSES = ("http:", "https:", "ftp:", "data:")
# `/file=`, its older form `/file/`, and the pages of others; servers before this one may have
# made one slash of two.
_FETCHING = re.compile(rf"/(?:file|proxy)[=/][/\s]*(?:{'|'.join(_ADDRESSES)})", re.IGNORECASE)

# Of gradio's routes: one gives a stranger's file to ffmpeg, one leaves files to no session.
_UNUSED = ("/process_recording", "/deep_link")


class _Refused(Exception):
    """A request goes no further; the arguments are the status and the reason."""


class _Gone(Exception):
    """The client has left; there is nobody to answer."""


class Gate:
    """ASGI middleware.

    Args:
        app: what stands behind.
        file_bytes: the largest file.
        patience: seconds without a byte after which a request is given up.
        longest: seconds after which it is given up in any case.
        unfinished: bytes that all requests together may have in files; a small one needs none.
    """

    def __init__(
        self,
        app: App,
        file_bytes: int,
        patience: float = _PATIENCE,
        longest: float = _LONGEST,
        unfinished: int = _UNFINISHED,
    ) -> None:
        self.app = app
        self.patience = patience
        self.longest = longest
        self.most = _FILES_AT_ONCE * file_bytes + 100_000  # and what surrounds the files
        self.unfinished = max(unfinished, self.most)
        self._files: dict[IO[bytes], int] = {}  # bytes of the bodies that lie in files now

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _FETCHING.search(scope["path"]):
            await _refuse(send, 403, "this server hands out its own files only")
        elif scope["path"].endswith(_UNUSED):
            await _refuse(send, 403, "this page has no use for that")
        elif scope["method"] == "POST":
            await self._post(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _post(self, scope: Message, receive: Receive, send: Send) -> None:
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            try:
                await self._take(scope, receive, body)
                if not _is_multipart(scope):
                    body.seek(0)
                    if fetches(body.read()):
                        raise _Refused(400, "upload the file; it is not fetched from an address")
                await self.app(scope, _replay(body, receive), send)
            except _Refused as refusal:
                await _refuse(send, *refusal.args)
            except _Gone:
                return
            finally:
                self._files.pop(body, None)

    async def _take(self, scope: Message, receive: Receive, body: IO[bytes]) -> None:
        """Put a request's body into `body`, as far as it may come."""
        most = self.most if _is_multipart(scope) else min(self.most, _LARGEST_JSON)
        too_large = _Refused(413, f"at most {most} bytes are taken in one request")
        if _length(scope) > most:
            raise too_large
        clock = asyncio.get_running_loop().time
        end, size, more = clock() + self.longest, 0, True
        while more:
            try:
                message = await asyncio.wait_for(receive(), min(self.patience, end - clock()))
            except TimeoutError:
                raise _Refused(408, "the request came too slowly; send it again") from None
            if message["type"] != "http.request":
                raise _Gone
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > most:
                raise too_large
            if size > _IN_MEMORY:
                self._files[body] = size
                if sum(self._files.values()) > self.unfinished:
                    raise _Refused(503, "too much is being uploaded now; try again in a minute")
            body.write(chunk)


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


def _length(scope: Message) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _is_multipart(scope: Message) -> bool:
    """Whether it cannot be JSON: where kinds are named twice, gradio chooses."""
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return bool(kinds) and all(kind.startswith(b"multipart/") for kind in kinds)


def _replay(body: IO[bytes], receive: Receive) -> Receive:
    """The body in pieces, then whatever the server says (that the client has gone)."""
    size, sent = body.seek(0, io.SEEK_END), False
    body.seek(0)

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        piece = body.read(_IN_MEMORY)
        sent = body.tell() == size
        return {"type": "http.request", "body": piece, "more_body": not sent}

    return again


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
