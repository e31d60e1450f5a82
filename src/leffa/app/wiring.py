"""Which control of a tab does what."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from leffa.app.actions import Actions
from leffa.app.tab import Controls

_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_LOOKING = 4  # uploads that are looked at side by side


def wire(controls: Controls, actions: Actions) -> None:
    """Connect the controls of a tab, in the current gradio context."""
    _wire_inputs(controls, actions)
    _wire_work(controls, actions)


def _wire_inputs(c: Controls, actions: Actions) -> None:
    quick = _PRIVATE | {"preprocess": False, "concurrency_limit": _LOOKING}
    shown, examples = [c.editor, c.status], actions.desk.maps.examples
    for event in (c.person.change, c.category.change):
        event(actions.look, [c.person, c.category], shown, **quick)
    c.reference.change(actions.check_reference, c.reference, c.status, **quick)
    c.densepose.upload(actions.check_densepose, c.densepose, c.status, **quick)
    c.mask.upload(actions.use_mask, [c.mask, c.person], shown, **quick)
    c.persons.select(_choose(examples.persons), None, c.person, **quick)
    c.references.select(_choose(examples.references), None, c.reference, **quick)
    c.new_seed.click(_new_seed, None, c.seed, **quick)


def _wire_work(c: Controls, actions: Actions) -> None:
    made = [c.status, c.result, c.picture_file, c.settings_file, c.flow]
    buttons = [c.generate, c.stop]
    pressed = c.generate.click(actions.queued, None, [c.status, *buttons], queue=False, **_PRIVATE)
    work = pressed.then(
        actions.generate,
        [c.person, c.reference, c.editor, c.densepose, *c.sampling],
        [*made, c.session, *buttons],
        preprocess=False,
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=c.status,
        concurrency_id="model",
    )
    work.failure(actions.failed, None, [c.status, *buttons], queue=False, **_PRIVATE)
    c.stop.click(actions.stop, None, [c.status, *buttons], cancels=[work], queue=False, **_PRIVATE)
    c.session.select(actions.again, None, made, **_PRIVATE)


def _choose(pictures: list[Path]) -> Callable[[gr.SelectData], str]:
    def chosen(event: gr.SelectData) -> str:
        return str(pictures[int(event.index)])

    return chosen


def _new_seed() -> int:
    return random.randrange(2**31)
