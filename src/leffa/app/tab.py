"""One tab of the page: its layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from leffa.app import words
from leffa.app.actions import READY
from leffa.app.desk import Desk
from leffa.app.sessions import Session
from leffa.app.studio import CATEGORIES
from leffa.app.widgets import editor_value, flow_view, mask_editor

CATEGORY_NAMES = dict(zip(("Upper body", "Lower body", "Dress"), CATEGORIES, strict=True))
_HEIGHT = 330  # pixels, of the pictures of the first row


@dataclass
class Controls:
    """The components of a tab that events read or write."""

    person: gr.Image
    reference: gr.Image
    persons: gr.Gallery
    references: gr.Gallery
    result: gr.Image
    status: gr.HTML
    generate: gr.Button
    stop: gr.Button
    picture_file: gr.DownloadButton
    settings_file: gr.DownloadButton
    flow: gr.HTML
    session: gr.Gallery
    editor: gr.HTML
    mask: gr.Image
    densepose: gr.Image
    category: gr.Radio
    steps: gr.Slider
    guidance: gr.Slider
    seed: gr.Number
    new_seed: gr.Button
    sampler: gr.Dropdown
    paste_back: gr.Checkbox
    without_densepose: gr.Checkbox

    @property
    def sampling(self) -> list[Any]:
        """In the order of `actions.sampling_of`."""
        return [
            *(self.category, self.steps, self.guidance, self.seed, self.sampler),
            *(self.paste_back, self.without_densepose),
        ]


def lay_out(desk: Desk, folder: Path) -> Controls:
    """The controls of a tab, in the current gradio context.

    Args:
        folder: for the maps of the example that stands there from the beginning.
    """
    say, examples, task = words.WORDS[desk.task], desk.maps.examples, desk.task
    parts: dict[str, Any] = {}
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            gr.HTML(words.title(say.person, say.person_hint))
            parts["person"] = _upload(say.person[3:], examples.persons[-1], f"{task}-person")
            parts["persons"] = _choice(examples.persons, f"{task}-persons")
        with gr.Column(min_width=300):
            gr.HTML(words.title(say.reference, say.reference_hint))
            name = f"{task}-reference"
            parts["reference"] = _upload(say.reference[3:], examples.references[0], name)
            parts["references"] = _choice(examples.references, f"{name}s")
        with gr.Column(min_width=300):
            gr.HTML(words.title("3. Result", desk.studio.description))
            parts |= _result(say, task)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300, visible=task == "tryon"):
            hint = (
                "Violet is repainted. Brush to add, erase to keep. Masks of photographs are made "
                f"by the recipe {desk.maps.mask_recipe}."
            )
            gr.HTML(words.title("What is repainted", hint))
            parts["editor"] = mask_editor(_first_mask(desk, folder), f"{task}-mask")
        with gr.Column(min_width=300):
            gr.HTML(words.title("Settings", "As the weights were made for, to begin with."))
            parts |= _settings(desk)
        with gr.Column(min_width=300):
            gr.HTML(words.title("Maps from files", "For photographs whose maps cannot be made."))
            parts |= _maps(desk)
    gr.HTML(words.title("Where it came from", "What attention looked at while it painted."))
    parts["flow"] = flow_view(f"{task}-flow")
    gr.HTML(
        words.title(
            "This session", "Every picture that is made stands here; choose one to see it again."
        )
    )
    parts["session"] = gr.Gallery(
        show_label=False,
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        visible=False,
        buttons=[],
        elem_id=f"{task}-session",
        elem_classes="leffa-session",
    )
    return Controls(**parts)


def _upload(
    label: str, value: Path | None, name: str, height: int = _HEIGHT, show_label: bool = False
) -> gr.Image:
    return gr.Image(
        value=None if value is None else str(value),
        label=label,
        show_label=show_label,
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=height,
        buttons=[],
        elem_id=name,
    )


def _choice(pictures: list[Path], name: str) -> gr.Gallery:
    return gr.Gallery(
        value=[str(path) for path in pictures],
        show_label=False,
        columns=len(pictures),
        rows=1,
        height=112,
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id=name,
        elem_classes="leffa-examples",
    )


def _result(say: words.Words, task: str) -> dict[str, Any]:
    result = gr.Image(
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
        generate = gr.Button(
            say.button, variant="primary", scale=3, min_width=120, elem_id=f"{task}-go"
        )
        stop = gr.Button(
            "Stop", variant="secondary", interactive=False, min_width=60, elem_id=f"{task}-stop"
        )
    status = gr.HTML(words.status(READY), elem_id=f"{task}-status")
    with gr.Row():
        files = [
            gr.DownloadButton(
                label, interactive=False, size="sm", min_width=100, elem_id=f"{task}-{kind}"
            )
            for label, kind in (("Download PNG", "png"), ("Download settings", "json"))
        ]
    return {
        "result": result,
        "generate": generate,
        "stop": stop,
        "status": status,
        "picture_file": files[0],
        "settings_file": files[1],
    }


def _settings(desk: Desk) -> dict[str, Any]:
    sampler, tryon = desk.studio.sampler, desk.task == "tryon"
    most = desk.limits.steps
    category = gr.Radio(
        list(CATEGORY_NAMES.items()),
        value=CATEGORIES[0],
        label="Garment",
        visible=tryon,
        elem_id=f"{desk.task}-category",
    )
    steps = gr.Slider(
        1,
        most,
        value=min(most, sampler.steps),
        step=1,
        label="Steps",
        info="More take longer.",
        elem_id=f"{desk.task}-steps",
    )
    guidance = gr.Slider(
        1, 10, value=sampler.guidance, step=0.1, label="Guidance", info="1 switches it off."
    )
    with gr.Row(equal_height=True):
        seed = gr.Number(
            sampler.seed, label="Seed", precision=0, minimum=0, elem_id=f"{desk.task}-seed"
        )
        kind = gr.Dropdown(
            [(name, key) for key, name in words.SAMPLERS.items()],
            value=sampler.scheduler,
            label="Sampler",
        )
    new_seed = gr.Button("Another seed", size="sm")
    paste_back = gr.Checkbox(
        value=tryon, label="Keep the photograph outside the mask", visible=tryon
    )
    return {
        "category": category,
        "steps": steps,
        "guidance": guidance,
        "seed": seed,
        "sampler": kind,
        "new_seed": new_seed,
        "paste_back": paste_back,
    }


def _maps(desk: Desk) -> dict[str, Any]:
    task, needed = desk.task, desk.studio.needs_densepose
    mask = _upload("Mask: white is repainted", None, f"{task}-mask-file", 170, True)
    mask.visible = task == "tryon"
    name = f"DensePose map ({desk.studio.body_map})"
    densepose = _upload(name, None, f"{task}-densepose", 170, True)
    densepose.visible = needed
    without = gr.Checkbox(
        value=False,
        label="Without DensePose",
        info="Works for any photograph, at a cost in quality.",
        visible=needed,
        elem_id=f"{task}-without",
    )
    return {"mask": mask, "densepose": densepose, "without_densepose": without}


def _first_mask(desk: Desk, folder: Path) -> dict[str, Any] | None:
    if desk.task != "tryon":
        return None
    session = Session(folder)
    seen = desk.look(desk.maps.examples.persons[-1], CATEGORIES[0], session)
    session.close()
    return editor_value(seen.picture, seen.mask)
