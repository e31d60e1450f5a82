"""The whole page: the tabs, the endpoints, and what happens when a visitor leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from leffa.app import words
from leffa.app.actions import Actions
from leffa.app.desk import Desk
from leffa.app.sessions import Sessions
from leffa.app.studio import CATEGORIES
from leffa.app.tab import lay_out
from leffa.app.wiring import wire

# Fonts that every system has: nothing is fetched from the network.
FONT = ("ui-sans-serif", "system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
# Seconds. A page that is closed tells so; what tells nothing is ended when it is idle for so long.
SWEEP, IDLE = 600, 7200


def build_page(desks: Mapping[str, Desk], sessions: Sessions, folder: Path) -> gr.Blocks:
    """The page for the models that there are, by task.

    Args:
        folder: for what the page itself needs while it runs.
    """
    with gr.Blocks(title="Leffa", analytics_enabled=False, delete_cache=(SWEEP, IDLE)) as page:
        gr.HTML(words.HEAD)
        with gr.Tabs(selected=next(iter(desks), "tryon")):
            for task, say in words.WORDS.items():
                with gr.Tab(say.tab, id=task):
                    if task in desks:
                        actions = Actions(desks[task], sessions)
                        wire(lay_out(desks[task], folder / task), actions)
                        _endpoint(actions, task)
                    else:
                        gr.HTML(f'<div class="leffa-missing">{say.missing}</div>')
            with gr.Tab("From a program", id="api"):
                example = gr.Markdown(words.api())
        page.load(
            _example_of_this_server,
            None,
            example,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        page.unload(_leave(sessions))
    return page


def theme() -> gr.themes.Base:
    """Plain, and without fonts from elsewhere."""
    made: gr.themes.Base = gr.themes.Default(
        primary_hue="violet",
        neutral_hue="slate",
        radius_size="md",
        font=FONT,
        font_mono=MONO,
    ).set(body_text_color_subdued="*neutral_500")
    return made


def _example_of_this_server(request: gr.Request) -> str:
    """The client's example with the address that the visitor came by."""
    return words.api(str(request.headers.get("origin") or words.ADDRESS))


def _leave(sessions: Sessions) -> Any:
    def leave(request: gr.Request) -> None:
        sessions.close(request.session_hash)

    return leave


def _endpoint(actions: Actions, task: str) -> None:
    """The tab for programs: its inputs are components that the page does not show."""
    sampler, tryon = actions.desk.studio.sampler, task == "tryon"
    files = [gr.File(visible=False, label=name) for name in ("person", "reference")]
    files += [gr.File(visible=False, label=name) for name in ("mask", "densepose")]
    values = [
        gr.Textbox(CATEGORIES[0], visible=False, label="category"),
        gr.Number(sampler.steps, visible=False, label="steps"),
        gr.Number(sampler.guidance, visible=False, label="guidance"),
        gr.Number(sampler.seed, visible=False, label="seed"),
        gr.Textbox(sampler.scheduler, visible=False, label="sampler"),
        gr.Checkbox(tryon, visible=False, label="paste_back"),
        gr.Checkbox(False, visible=False, label="without_densepose"),
    ]
    # A file too: in JSON of ours a client would take the names of files for files to fetch.
    outputs = [gr.File(visible=False, label=name) for name in ("picture", "settings")]
    gr.Button(visible=False).click(
        _named(actions),
        [*files, *values],
        outputs,
        preprocess=False,
        api_name=task,
        api_description=f"{actions.words.tab}: see the tab “From a program”.",
        concurrency_id="model",
    )


def _named(actions: Actions) -> Any:
    """The endpoint's function; its parameters are the names that a client uses."""

    def make(
        person: Any,
        reference: Any,
        mask: Any,
        densepose: Any,
        category: Any,
        steps: Any,
        guidance: Any,
        seed: Any,
        sampler: Any,
        paste_back: Any,
        without_densepose: Any,
        request: gr.Request,
    ) -> tuple[str, str]:
        values = (category, steps, guidance, seed, sampler, paste_back, without_densepose)
        return actions.answer(request, person, reference, mask, densepose, *values)

    return make
