"""The server of the page: what it loads, where it listens, and that nothing stays behind.

Everything that a visitor uploads and all that is made of it lies in one temporary folder, which is
removed when the server ends.
"""

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import gradio as gr
from starlette.middleware import Middleware

from leffa.app.examples import draw_examples
from leffa.app.handler import HandlerByCategory, RequestHandler
from leffa.app.inference import InferenceSession
from leffa.app.maps import MapMaker
from leffa.app.middleware import UploadLimitMiddleware
from leffa.app.page import IDLE, SWEEP, build_page, theme
from leffa.app.sessions import Sessions
from leffa.app.settings import Serving
from leffa.app.widgets import part
from leffa.photo_to_picture import Weights
from leffa.photo_to_picture.networks import PublishedTools
from leffa.preprocess.photo import Tools

# Of gradio's own settings these could open what is closed here.
_ENVIRONMENT = (
    *("GRADIO_ALLOWED_PATHS", "GRADIO_SHARE", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"),
    *("GRADIO_MCP_SERVER", "GRADIO_SSR_MODE", "GRADIO_WATCH_DIRS", "GRADIO_VIBE_MODE"),
)
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@contextlib.contextmanager
def served(
    models: Mapping[str, Sequence[Weights]], tools: Tools | PublishedTools, serving: Serving
) -> Iterator[str]:
    """The page on the network, within this context; gives its address.

    Args:
        models: by task, its weights; of try-on also those for lower garments and dresses, where
            they are others.
        tools: what makes the maps of photographs.

    Raises:
        OSError: the port is taken, or there is no public address to be had.
    """
    with tempfile.TemporaryDirectory(prefix="leffa_app_") as name:
        folder = Path(name)
        with _environment(folder / "gradio", serving.host):
            sessions = Sessions(folder / "sessions")
            # Served from where they are: a copy in gradio's folder would outlive the session.
            gr.set_static_paths(sessions.root)
            handlers: dict[str, RequestHandler] = {}
            for task, of_task in models.items():
                size = of_task[0].inputs.height, of_task[0].inputs.width
                examples = draw_examples(task, folder / "examples" / task, *size)
                found = []
                for weights in of_task:
                    how = serving.limits, serving.device, serving.performance
                    model = InferenceSession(weights, *how)
                    maps = MapMaker(model, examples, tools, serving.recipe)
                    found.append(RequestHandler(model, maps))
                handlers[task] = HandlerByCategory(*found) if len(found) > 1 else found[0]
            page = build_page(handlers, sessions, folder / "page")
            page.queue(max_size=serving.limits.waiting, default_concurrency_limit=1)
            try:
                with _sweeping(sessions):
                    yield _launch(page, serving)
            finally:
                sessions.close_all()
                page.close(verbose=False)


def wait_for_the_end() -> None:
    """Until Ctrl-C, or until the process is asked to end."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, end)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(1.0)  # in one long sleep, Windows hears no Ctrl-C
    finally:
        signal.signal(signal.SIGTERM, earlier)


def check_port(serving: Serving) -> None:
    """Raise OSError where a port was chosen and cannot be had; before anything is fetched."""
    if serving.port is not None:
        family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
        try:
            socket.create_server((serving.host, serving.port), family=family).close()
        except (OSError, OverflowError) as error:
            raise _cannot_listen(serving) from error


def _cannot_listen(serving: Serving) -> OSError:
    where = f"--host {serving.host}" + (f" --port {serving.port}" if serving.port else "")
    return OSError(
        f"{where}: cannot listen there; another program may be using the port: give another "
        "--port, or omit it for the first free one from 7860"
    )


def _launch(page: gr.Blocks, serving: Serving) -> str:
    limits = Middleware(UploadLimitMiddleware, file_bytes=serving.limits.bytes)
    try:
        _, local, public = page.launch(
            server_name=serving.host,
            server_port=serving.port,
            share=serving.share,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            show_error=False,
            max_file_size=serving.limits.bytes,
            enable_monitoring=False,
            run_history=False,
            ssr_mode=False,
            mcp_server=serving.mcp,
            footer_links=[],
            app_kwargs={"middleware": [limits], "docs_url": None, "redoc_url": None},
            theme=theme(),
            css=part("page.css"),
        )
    except OSError as error:  # gradio's message names its own parameters
        raise _cannot_listen(serving) from error
    if serving.share and not public:
        raise OSError(
            "--share: gradio's server gave no public address; is there a network connection? "
            "Without --share, the page serves this machine only"
        )
    return public or local


@contextlib.contextmanager
def _sweeping(sessions: Sessions) -> Iterator[None]:
    """End the sessions of programs that left without a word, now and then."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(SWEEP):
            sessions.close_idle(IDLE)

    threading.Thread(target=sweep, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextlib.contextmanager
def _environment(cache: Path, host: str) -> Iterator[None]:
    """Gradio reads some settings from the environment only. It asks its own page whether it is
    there, which no proxy can tell."""
    earlier = dict(os.environ)
    for name in _ENVIRONMENT:
        os.environ.pop(name, None)
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    direct = [os.environ.get("no_proxy") or os.environ.get("NO_PROXY", ""), host, *_THIS_MACHINE]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, direct))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(earlier)
