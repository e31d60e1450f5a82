"""The actions of a tab's controls: each takes what gradio sends, and returns what it shows.

Events are declared with `preprocess=False`: gradio has then checked that a file lies in its own
upload folder, and opened nothing. Opening is `limits.open_upload`, which knows what to refuse.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from leffa.app import ui_text
from leffa.app.handler import Progress, Request, RequestHandler
from leffa.app.inference import Result, Sampling, Stopped
from leffa.app.sessions import Session, Sessions
from leffa.app.ui_text import READY, status
from leffa.app.widgets import editor_value, flow_value

Upload = dict[str, Any] | None
Shown = tuple[Any, ...]
STOPPED = status("Stopped; nothing was made.", "warn")


class Actions:
    def __init__(self, handler: RequestHandler, sessions: Sessions) -> None:
        self.handler = handler
        self.sessions = sessions
        self.text = handler.text

    def session(self, request: gr.Request) -> Session:
        return self.sessions.of(request.session_hash)

    def show_person(self, person: Upload, category: str, request: gr.Request) -> tuple[Any, str]:
        """Another person or category: the mask to brush, and what is missing still."""
        session = self.session(request)
        if (path := self._given(person, session)) is None:
            return None, status(self.text.person_hint)
        try:
            picture, mask, remarks = self.handler.preview(path, category, session)
        except ValueError as error:
            return None, status(str(error), "error")
        told = status(" ".join(remarks) or READY, "warn" if remarks else "")
        return editor_value(picture, mask) if self.handler.task == "tryon" else None, told

    def check(self, field: str) -> Callable[[Upload, gr.Request], str]:
        """Something was uploaded or taken away that shows in its own place; gives the event."""

        def event(upload: Upload, request: gr.Request) -> str:
            path = self._given(upload, self.session(request))
            try:
                if path is not None:
                    self.handler.photograph(path, field)
            except ValueError as error:
                return status(str(error), "error")
            return status(READY)

        return event

    def use_mask(self, mask: Upload, person: Upload, request: gr.Request) -> tuple[Any, str]:
        """A mask was uploaded: show it where it can be brushed."""
        session = self.session(request)
        path, photo = self._given(mask, session), self._given(person, session)
        if path is None or photo is None:
            return gr.skip(), status("Upload the photograph, then its mask.", "warn")
        try:
            picture = self.handler.photograph(photo, "source")
            upload = self.handler.upload(path, "mask")
        except ValueError as error:
            return gr.skip(), status(str(error), "error")
        return editor_value(picture, upload) | {"edited": True}, status(READY)

    def queued(self) -> Shown:
        """The button was pressed: the request joins the queue, and may leave it again."""
        return status("Waiting for its turn…"), *_buttons(working=True)

    def generate(
        self,
        request: gr.Request,
        person: Upload,
        reference: Upload,
        editor: dict[str, Any] | None,
        densepose: Upload,
        *sampling: Any,
    ) -> Iterator[Shown]:
        """Generate an image and report progress; `tab` says which controls show it."""
        session = self.session(request)
        mask = str(editor.get("mask")) if editor and editor.get("edited") else None

        def only(line: str, working: bool = False) -> Shown:
            return line, *[gr.skip()] * 5, *_buttons(working)

        try:
            wanted = self._request(session, (person, reference, densepose), mask, sampling)
            for news in self.handler.run(wanted, session):
                if isinstance(news, Progress):
                    yield only(ui_text.progress(news.done, news.steps, news.left), working=True)
                else:
                    yield *self._shown(news), self._gallery(session), *_buttons(working=False)
        except Stopped:
            yield only(STOPPED)
        except ValueError as error:
            yield only(status(str(error), "error"))

    def failed(self) -> Shown:
        """A full queue, or an internal error, which the terminal shows."""
        text = "The server is too busy, or the job failed; try again in a minute."
        return status(text, "error"), *_buttons(working=False)

    def stop(self, request: gr.Request) -> Shown:
        self.session(request).stop(self.handler.task)
        return STOPPED, *_buttons(working=False)

    def show_again(self, request: gr.Request, event: gr.SelectData) -> Shown:
        results = self.session(request).results.get(self.handler.task, [])
        index = len(results) - 1 - int(event.index)
        return self._shown(results[index]) if 0 <= index < len(results) else (gr.skip(),) * 5

    def answer(
        self,
        request: gr.Request,
        person: Upload,
        reference: Upload,
        mask: Upload,
        densepose: Upload,
        *sampling: Any,
    ) -> tuple[str, str]:
        """The endpoint: the files of an image and of its settings."""
        session = self.session(request)
        files = person, reference, densepose
        try:
            wanted = self._request(session, files, self._given(mask, session), sampling)
            *_, result = self.handler.run(wanted, session)
        except Stopped:
            raise gr.Error("Stopped.", print_exception=False) from None
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        assert isinstance(result, Result)
        return str(result.picture), str(result.settings)

    def _request(
        self,
        session: Session,
        files: tuple[Upload, Upload, Upload],
        mask: str | Path | None,
        values: tuple[Any, ...],
    ) -> Request:
        person, reference, densepose = (self._given(each, session) for each in files)
        return Request(person, reference, mask, densepose, sampling_of(values))

    def _given(self, upload: Upload, session: Session) -> Path | None:
        """Where gradio has put an upload; it is deleted with the session."""
        path = Path(upload["path"]) if upload and upload.get("path") else None
        if path is not None and not self.handler.maps.examples.is_copy(path):
            session.receive(path)
        return path

    def _gallery(self, session: Session) -> gr.Gallery:
        results = reversed(session.results[self.handler.task])
        return gr.Gallery(
            [(str(r.picture), f"seed {r.job.sampling.seed}") for r in results], visible=True
        )

    def _shown(self, result: Result) -> Shown:
        """A result's status line, image, two files and flow."""
        used = result.job.sampling
        steps = "1 step" if used.steps == 1 else f"{used.steps} steps"
        told = (
            f"Done in {ui_text.duration(result.seconds)}: seed {used.seed}, {steps} of "
            f"{ui_text.SAMPLERS[used.scheduler]}, guidance {used.guidance:g}."
        )
        files = str(result.picture), str(result.settings)
        buttons = (gr.DownloadButton(value=file, interactive=True) for file in files)
        return status(told, "done"), files[0], *buttons, flow_value(result, self.text.flow)


def sampling_of(values: tuple[Any, ...]) -> Sampling:
    """The values of the controls, in the order of `Tab.sampling`; ValueError: one is no number."""
    category, steps, guidance, seed, scheduler, paste_back, without_densepose = values
    return Sampling(
        category=str(category),
        steps=int(_number(steps, "steps", whole=True)),
        guidance=float(_number(guidance, "guidance")),
        seed=int(_number(seed, "seed", whole=True)),
        scheduler=str(scheduler),
        paste_back=bool(paste_back),
        without_densepose=bool(without_densepose),
    )


def _number(value: Any, name: str, whole: bool = False) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: give a number")
    if whole and not float(value).is_integer():
        raise ValueError(f"{name}: give a whole number")
    return value


def _buttons(working: bool) -> tuple[Any, Any]:
    """The two buttons: to make an image, and to stop."""
    return gr.Button(interactive=not working), gr.Button(interactive=working)
