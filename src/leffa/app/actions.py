"""What the controls of a tab do. Each function takes what gradio sends, and gives what it shows.

Events are declared with `preprocess=False`: gradio has then checked that a file lies in its own
upload folder, and opened nothing. Opening is `limits.open_upload`, which knows what to refuse.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from leffa.app import words
from leffa.app.desk import Desk, Progress, Wish
from leffa.app.limits import open_upload
from leffa.app.sessions import Session, Sessions
from leffa.app.studio import Made, Stopped
from leffa.app.widgets import editor_value, flow_value

Upload = dict[str, Any] | None
READY = "Ready."


class Actions:
    """The controls of one tab, or of one endpoint."""

    def __init__(self, desk: Desk, sessions: Sessions) -> None:
        self.desk = desk
        self.sessions = sessions
        self.words = words.WORDS[desk.task]

    def session(self, request: gr.Request) -> Session:
        """Whose controls these are."""
        return self.sessions.of(request.session_hash)

    def look(self, person: Upload, category: str, request: gr.Request) -> tuple[Any, str]:
        """Another person or category: the mask to brush, and what is missing still."""
        session = self.session(request)
        path = self._given(person, session)
        if path is None:
            return None, words.status(self.words.person_hint)
        try:
            seen = self.desk.look(path, category, session)
        except ValueError as error:
            return None, words.status(str(error), "error")
        tryon = self.desk.task == "tryon"
        kind = "warn" if seen.remarks else ""
        told = words.status(" ".join(seen.remarks) or READY, kind)
        return editor_value(seen.picture, seen.mask) if tryon else None, told

    def check_reference(self, reference: Upload, request: gr.Request) -> str:
        """A garment, or a person to copy, was uploaded or taken away."""
        return self._check(reference, request, "reference")

    def check_densepose(self, densepose: Upload, request: gr.Request) -> str:
        """A DensePose map was uploaded or taken away."""
        return self._check(densepose, request, "densepose")

    def use_mask(self, mask: Upload, person: Upload, request: gr.Request) -> tuple[Any, str]:
        """A mask was uploaded: show it where it can be brushed."""
        session = self.session(request)
        path, photo = self._given(mask, session), self._given(person, session)
        if path is None or photo is None:
            return gr.skip(), words.status("Upload the photograph, then its mask.", "warn")
        try:
            picture = self.desk.photograph(photo, "source")
            shown = editor_value(picture, open_upload(path, self.desk.limits, "The mask"))
        except ValueError as error:
            return gr.skip(), words.status(str(error), "error")
        return shown | {"edited": True}, words.status(READY)

    def queued(self) -> tuple[Any, ...]:
        """The button was pressed: the request joins the queue, and may leave it again."""
        return words.status("Waiting for its turn…"), *_buttons(working=True)

    def generate(
        self,
        request: gr.Request,
        person: Upload,
        reference: Upload,
        editor: dict[str, Any] | None,
        densepose: Upload,
        *sampling: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Make a picture, telling how far it is; `wiring` says which controls show it."""
        session = self.session(request)
        brushed = isinstance(editor, dict) and editor.get("edited")
        mask = str(editor.get("mask")) if editor and brushed else None
        try:
            wish = self._wish(session, person, reference, mask, densepose, sampling)
            for news in self.desk.work(wish, session):
                if isinstance(news, Progress):
                    yield (words.progress(news), *[gr.skip()] * 5, *_buttons(working=True))
                else:
                    yield (*self._shown(news, session), *_buttons(working=False))
        except Stopped:
            yield self._ended("Stopped; nothing was made.", "warn")
        except ValueError as error:
            yield self._ended(str(error), "error")

    def failed(self) -> tuple[Any, ...]:
        """What nobody foresaw: a full queue, or a mistake of ours, which the terminal shows."""
        text = "The server could not do it now; try again in a minute."
        return words.status(text, "error"), *_buttons(working=False)

    def stop(self, request: gr.Request) -> tuple[Any, ...]:
        """The user does not want to wait."""
        self.session(request).stop(self.desk.task)
        return words.status("Stopped; nothing was made.", "warn"), *_buttons(working=False)

    def again(self, request: gr.Request, event: gr.SelectData) -> tuple[Any, ...]:
        """Show an earlier picture of the session."""
        made = self.session(request).made.get(self.desk.task, [])
        index = len(made) - 1 - int(event.index)
        if not 0 <= index < len(made):
            return (gr.skip(),) * 5
        chosen = made[index]
        return (self._told(chosen), *self._files(chosen), self._flow(chosen))

    def answer(
        self,
        request: gr.Request,
        person: Upload,
        reference: Upload,
        mask: Upload,
        densepose: Upload,
        *sampling: Any,
    ) -> tuple[str, str]:
        """The endpoint: the files of a picture and of its settings."""
        session = self.session(request)
        try:
            file = self._given(mask, session)
            wish = self._wish(session, person, reference, file, densepose, sampling)
            *_, made = self.desk.work(wish, session)
        except Stopped:
            raise gr.Error("Stopped.", print_exception=False) from None
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        assert isinstance(made, Made)
        return str(made.picture), str(made.settings)

    def _wish(
        self,
        session: Session,
        person: Upload,
        reference: Upload,
        mask: str | Path | None,
        densepose: Upload,
        values: Sequence[Any],
    ) -> Wish:
        return Wish(
            person=self._given(person, session),
            reference=self._given(reference, session),
            mask=mask,
            densepose=self._given(densepose, session),
            sampling=sampling_of(*values),
        )

    def _check(self, upload: Upload, request: gr.Request, field: str) -> str:
        path = self._given(upload, self.session(request))
        if path is None:
            return words.status(READY)
        try:
            self.desk.photograph(path, field)
        except ValueError as error:
            return words.status(str(error), "error")
        return words.status(READY)

    def _given(self, upload: Upload, session: Session) -> Path | None:
        """Where gradio has put an upload; it is deleted with the session."""
        path = Path(upload["path"]) if upload and upload.get("path") else None
        if path is not None and not self._is_example(path):
            session.receive(path)
        return path

    def _is_example(self, path: Path) -> bool:
        """Whether it is gradio's copy of a drawn picture, which every visitor needs."""
        drawn = (*self.desk.maps.examples.persons, *self.desk.maps.examples.references)
        return path.is_file() and any(
            each.name == path.name and each.read_bytes() == path.read_bytes() for each in drawn
        )

    def _shown(self, made: Made, session: Session) -> tuple[Any, ...]:
        pictures = [
            (str(each.picture), f"seed {each.order.seed}")
            for each in reversed(session.made[self.desk.task])
        ]
        gallery = gr.Gallery(value=pictures, visible=True)
        return self._told(made), *self._files(made), self._flow(made), gallery

    def _told(self, made: Made) -> str:
        order, took = made.order, words.duration(made.seconds)
        steps = "1 step" if order.steps == 1 else f"{order.steps} steps"
        return words.status(
            f"Done in {took}: seed {order.seed}, {steps} of {words.SAMPLERS[order.scheduler]}, "
            f"guidance {order.guidance:g}.",
            "done",
        )

    def _files(self, made: Made) -> tuple[Any, ...]:
        buttons = (
            gr.DownloadButton(value=str(path), interactive=True)
            for path in (made.picture, made.settings)
        )
        return str(made.picture), *buttons

    def _flow(self, made: Made) -> dict[str, Any]:
        return flow_value(made, self.words.flow)

    def _ended(self, text: str, kind: str) -> tuple[Any, ...]:
        return (words.status(text, kind), *[gr.skip()] * 5, *_buttons(working=False))


def sampling_of(
    category: Any,
    steps: Any,
    guidance: Any,
    seed: Any,
    scheduler: Any,
    paste_back: Any,
    without_densepose: Any = False,
) -> dict[str, Any]:
    """The values of the controls, of the types that an `Order` wants.

    Raises:
        ValueError: one is no number.
    """
    return {
        "category": str(category),
        "steps": _whole(steps, "steps"),
        "guidance": _number(guidance, "guidance"),
        "seed": _whole(seed, "seed"),
        "scheduler": str(scheduler),
        "paste_back": bool(paste_back),
        "without_densepose": bool(without_densepose),
    }


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: give a number")
    return float(value)


def _whole(value: Any, name: str) -> int:
    number = _number(value, name)
    if not number.is_integer():
        raise ValueError(f"{name}: give a whole number")
    return int(number)


def _buttons(working: bool) -> tuple[Any, Any]:
    """The two buttons: to make a picture, and to stop."""
    return gr.Button(interactive=not working), gr.Button(interactive=working)
