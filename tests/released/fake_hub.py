"""A hub on 127.0.0.1 that serves files as Hugging Face's does, and remembers what it was asked."""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40
Repositories = dict[str, dict[str, bytes]]


def small(path: str) -> bool:
    """Whether git keeps the file itself."""
    return path.endswith(".json")


def digest(path: str, content: bytes) -> str:
    if small(path):
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return hashlib.sha256(content).hexdigest()


class FakeHub:
    """What it serves and how; change it between requests.

    Attributes:
        wrong: paths of files that arrive with other content than their hash says.
        cut: paths of files whose connection breaks half-way.
        private: repositories that need a token.
        held: paths of files of which only one half arrives until they are taken out.
    """

    def __init__(self, repositories: Repositories) -> None:
        self.repositories = repositories
        self.asked: list[str] = []
        self.wrong: set[str] = set()
        self.cut: set[str] = set()
        self.private: set[str] = set()
        self.held: set[str] = set()

    def downloads(self) -> list[str]:
        return [
            line.rpartition("/")[2] for line in self.asked if "GET" in line and "resolve" in line
        ]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yields its address."""
        hub = self

        class Handler(_Handler):
            served = hub

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.served.asked.append(f"{self.command} {path}")
        name = re.match(r"/(?:api/models/)?([\w-]+/[\w.-]+)/", path)
        files = self.served.repositories.get(name[1]) if name else None
        if name and name[1] in self.served.private:
            return self._answer(401, b"", {"X-Error-Message": "Invalid username or password."})
        if name is None or files is None:
            return self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if path.startswith("/api/"):
            listed = [
                {"type": "file", "oid": digest(file, content), "size": len(content), "path": file}
                for file, content in files.items()
            ]
            content = {"id": name[1], "sha": COMMIT} if "/revision/" in path else listed
            return self._answer(200, json.dumps(content).encode(), {})
        file = path.partition("/resolve/")[2].partition("/")[2]
        if file not in files:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{digest(file, files[file])}"', "X-Repo-Commit": COMMIT}
        body = files[file][::-1] if file in self.served.wrong else files[file]
        self._answer(200, body, headers, cut=file in self.served.cut | self.served.held)
        while self.command == "GET" and file in self.served.held:
            time.sleep(0.01)

    def _answer(self, code: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(ConnectionError):  # the client was killed
                self.wfile.write(body[: len(body) // 2] if cut else body)
