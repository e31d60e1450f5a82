"""One tab of the page: its layout, and which control does what."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from leffa.app.actions import Actions
from leffa.app.sessions import Session
from leffa.app.ui_text import READY, SAMPLERS, status, title
from leffa.app.widgets import editor_value, widget
from leffa.data.labels import CATEGORIES

_CATEGORY_NAMES = ("Upper body", "Lower body", "Dress")
_HEIGHT = 330  # pixels, of the images of the first row
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Without a file being opened; four uploads are looked at side by side.
_QUICK = _PRIVATE | {"preprocess": False, "concurrency_limit": 4}


class Tab:
    """The controls of a task, laid out in the current gradio context.

    Args:
        folder: for the maps of the example that stands there from the beginning.
    """

    def __init__(self, actions: Actions, folder: Path) -> None:
        self.actions = actions
        self.handler = actions.handler
        self.examples = self.handler.maps.examples
        self.task = self.handler.task
        self.tryon = self.task == "tryon"
        self._inputs()
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300, visible=self.tryon):
                hint = (
                    "Violet is repainted. Brush to add, erase to keep. Masks of photographs are "
                    f"made by the recipe {self.handler.maps.mask_recipe}."
                )
                gr.HTML(title("What is repainted", hint))
                self.editor = widget("mask_editor", f"{self.task}-mask", self._first_mask(folder))
            with gr.Column(min_width=300):
                gr.HTML(title("Settings", "The defaults are those the weights were made for."))
                self._settings()
            with gr.Column(min_width=300):
                gr.HTML(title("Maps from files", "If the maps of a photograph cannot be computed."))
                self._maps()
        gr.HTML(
            title("Where it came from", "Where the attention looked while generating the image.")
        )
        self.flow = widget("flow_view", f"{self.task}-flow")
        hint = "All images of this session appear here; choose one to see it again."
        gr.HTML(title("This session", hint))
        name = f"{self.task}-session"
        self.session = _gallery(name, visible=False, elem_classes="leffa-session")
        self.sampling: list[Any] = [self.category, self.steps, self.guidance, self.seed]
        self.sampling += [self.sampler, self.paste_back, self.without_densepose]
        self._connect_inputs()
        self._connect_work()

    def _inputs(self) -> None:
        """The first row: what goes in, and what comes out."""
        text, task, examples = self.handler.text, self.task, self.examples
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300):
                gr.HTML(title(text.person, text.person_hint))
                name, first = f"{task}-person", str(examples.persons[-1])
                self.person = _upload(name, value=first, label=text.person[3:], show_label=False)
                self.persons = _choice(examples.persons, f"{name}s")
            with gr.Column(min_width=300):
                gr.HTML(title(text.reference, text.reference_hint))
                name, first = f"{task}-reference", str(examples.references[0])
                label = text.reference[3:]
                self.reference = _upload(name, value=first, label=label, show_label=False)
                self.references = _choice(examples.references, f"{name}s")
            with gr.Column(min_width=300):
                gr.HTML(title("3. Result", self.handler.model.description))
                self._result()

    def _result(self) -> None:
        task = self.task
        self.result = gr.Image(
            label="Result",
            show_label=False,
            type="filepath",
            interactive=False,
            height=_HEIGHT,
            format="png",
            buttons=["fullscreen"],
            elem_id=f"{task}-result",
        )
        with gr.Row():
            look: dict[str, Any] = {"variant": "primary", "scale": 3, "min_width": 120}
            self.generate = gr.Button(self.handler.text.button, elem_id=f"{task}-go", **look)
            self.stop = gr.Button("Stop", interactive=False, min_width=60, elem_id=f"{task}-stop")
        self.status = gr.HTML(status(READY), elem_id=f"{task}-status")
        with gr.Row():
            off: dict[str, Any] = {"interactive": False, "size": "sm", "min_width": 100}
            self.files = [
                gr.DownloadButton(f"Download {what}", elem_id=f"{task}-{kind}", **off)
                for what, kind in (("PNG", "png"), ("settings", "json"))
            ]

    def _settings(self) -> None:
        task, sampler, most = self.task, self.handler.model.sampler, self.handler.model.limits.steps
        self.category = gr.Radio(
            list(zip(_CATEGORY_NAMES, CATEGORIES, strict=True)),
            value=CATEGORIES[0],
            label="Garment",
            visible=self.tryon,
            elem_id=f"{task}-category",
        )
        self.steps = gr.Slider(
            1,
            most,
            value=min(most, sampler.steps),
            step=1,
            label="Steps",
            info="More take longer.",
            elem_id=f"{task}-steps",
        )
        self.guidance = gr.Slider(
            1, 10, value=sampler.guidance, step=0.1, label="Guidance", info="1 switches it off."
        )
        with gr.Row(equal_height=True):
            name = f"{task}-seed"
            self.seed = gr.Number(sampler.seed, label="Seed", precision=0, minimum=0, elem_id=name)
            names = [(SAMPLERS[key], key) for key in self.handler.model.samplers]
            self.sampler = gr.Dropdown(names, value=sampler.scheduler, label="Sampler")
        self.new_seed = gr.Button("Another seed", size="sm")
        label = "Keep the photograph outside the mask"
        self.paste_back = gr.Checkbox(value=self.tryon, label=label, visible=self.tryon)

    def _maps(self) -> None:
        task, needed = self.task, self.handler.model.needs_densepose
        label = "Mask: white is repainted"
        self.mask = _upload(f"{task}-mask-file", label=label, height=170, visible=self.tryon)
        label = f"DensePose map ({self.handler.model.body_map})"
        self.densepose = _upload(f"{task}-densepose", label=label, height=170, visible=needed)
        self.without_densepose = gr.Checkbox(
            value=False,
            label="Without DensePose",
            info="Works for any photograph, at a cost in quality.",
            visible=needed,
            elem_id=f"{task}-without",
        )

    def _first_mask(self, folder: Path) -> dict[str, Any] | None:
        if not self.tryon:
            return None
        session = Session(folder)
        first = self.examples.persons[-1]
        picture, mask, _ = self.handler.preview(first, CATEGORIES[0], session)
        session.close()
        return editor_value(picture, mask)

    def _connect_inputs(self) -> None:
        actions, shown = self.actions, [self.editor, self.status]
        for event in (self.person.change, self.category.change):
            event(actions.show_person, [self.person, self.category], shown, **_QUICK)
        self.reference.change(actions.check("reference"), self.reference, self.status, **_QUICK)
        self.densepose.upload(actions.check("densepose"), self.densepose, self.status, **_QUICK)
        self.mask.upload(actions.use_mask, [self.mask, self.person], shown, **_QUICK)
        self.persons.select(_choose(self.examples.persons), None, self.person, **_QUICK)
        self.references.select(_choose(self.examples.references), None, self.reference, **_QUICK)
        self.new_seed.click(lambda: random.randrange(2**31), None, self.seed, **_QUICK)

    def _connect_work(self) -> None:
        actions, buttons = self.actions, [self.generate, self.stop]
        result = [self.status, self.result, *self.files, self.flow]
        told = [self.status, *buttons]
        pressed = self.generate.click(actions.queued, None, told, queue=False, **_PRIVATE)
        work = pressed.then(
            actions.generate,
            [self.person, self.reference, self.editor, self.densepose, *self.sampling],
            [*result, self.session, *buttons],
            preprocess=False,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=self.status,
            concurrency_id="model",
        )
        work.failure(actions.failed, None, told, queue=False, **_PRIVATE)
        self.stop.click(actions.stop, None, told, cancels=[work], queue=False, **_PRIVATE)
        self.session.select(actions.show_again, None, result, **_PRIVATE)


def _upload(name: str, height: int = _HEIGHT, **options: Any) -> gr.Image:
    return gr.Image(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=height,
        buttons=[],
        elem_id=name,
        **options,
    )


def _gallery(name: str, **options: Any) -> gr.Gallery:
    return gr.Gallery(
        show_label=False,
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id=name,
        **options,
    )


def _choice(pictures: list[Path], name: str) -> gr.Gallery:
    shown: dict[str, Any] = {"columns": len(pictures), "rows": 1, "height": 112}
    files = [str(path) for path in pictures]
    return _gallery(name, value=files, elem_classes="leffa-examples", **shown)


def _choose(pictures: list[Path]) -> Callable[[gr.SelectData], str]:
    def chosen(event: gr.SelectData) -> str:
        return str(pictures[int(event.index)])

    return chosen
