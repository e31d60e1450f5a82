"""The whole page: the tabs, the endpoints, and what happens when a visitor leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from leffa.app import ui_text
from leffa.app.actions import Actions
from leffa.app.handler import RequestHandler
from leffa.app.sessions import Sessions
from leffa.app.tab import Tab
from leffa.data.labels import CATEGORIES

# Fonts that every system has: nothing is fetched from the network.
FONT = ("ui-sans-serif", "system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
# Seconds. A page that is closed tells so; what tells nothing is ended when it is idle for so long.
SWEEP, IDLE = 600, 7200


def build_page(
    handlers: Mapping[str, RequestHandler], sessions: Sessions, folder: Path
) -> gr.Blocks:
    """The page for the models that there are, by task.

    Args:
        folder: for what the page itself needs while it runs.
    """

    def example_of_this_server(request: gr.Request) -> str:
        """With the address that the visitor came by."""
        return ui_text.api(str(request.headers.get("origin") or ui_text.ADDRESS))

    def leave(request: gr.Request) -> None:
        sessions.close(request.session_hash)

    with gr.Blocks(title="Leffa", analytics_enabled=False, delete_cache=(SWEEP, IDLE)) as page:
        gr.HTML(ui_text.HEAD)
        with gr.Tabs(selected=next(iter(handlers), "tryon")):
            for task, text in ui_text.TABS.items():
                with gr.Tab(text.tab, id=task):
                    if task in handlers:
                        actions = Actions(handlers[task], sessions)
                        Tab(actions, folder / task)
                        _endpoint(actions, task)
                    else:
                        gr.HTML(f'<div class="leffa-missing">{text.missing}</div>')
            with gr.Tab("From a program", id="api"):
                example = gr.Markdown(ui_text.api())
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        page.load(example_of_this_server, None, example, queue=False, **quiet)
        page.unload(leave)
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


def _endpoint(actions: Actions, task: str) -> None:
    """The tab for programs: its inputs are components that the page does not show."""

    def endpoint(
        request: gr.Request,
        person: Any,
        reference: Any,
        mask: Any = None,
        densepose: Any = None,
        category: Any = None,  # as all below, the value of its component
        steps: Any = None,
        guidance: Any = None,
        seed: Any = None,
        sampler: Any = None,
        paste_back: Any = None,
        without_densepose: Any = None,
    ) -> tuple[str, str]:  # the parameters are the names that a client uses
        values = (category, steps, guidance, seed, sampler, paste_back, without_densepose)
        return actions.answer(request, person, reference, mask, densepose, *values)

    endpoint.__name__ = task  # the name of the tool, for language models
    sampler, tryon = actions.handler.model.sampler, task == "tryon"
    names = "person", "reference", "mask", "densepose"
    files = [gr.File(visible=False, label=name) for name in names]
    values = [
        gr.Textbox(CATEGORIES[0], visible=False, label="category"),
        gr.Number(sampler.steps, visible=False, label="steps"),
        gr.Number(sampler.guidance, visible=False, label="guidance"),
        gr.Number(sampler.seed, visible=False, label="seed"),
        gr.Textbox(sampler.scheduler, visible=False, label="sampler"),
        gr.Checkbox(tryon, visible=False, label="paste_back"),
        gr.Checkbox(False, visible=False, label="without_densepose"),
    ]
    # Files too: in JSON of ours a client would take the names of files for files to fetch.
    outputs = [gr.File(visible=False, label=name) for name in ("picture", "settings")]
    gr.Button(visible=False).click(
        endpoint,
        [*files, *values],
        outputs,
        preprocess=False,
        api_name=task,
        api_description=f"{actions.text.tab}: see the tab “From a program”. {ui_text.CONSENT}",
        concurrency_id="model",
    )
