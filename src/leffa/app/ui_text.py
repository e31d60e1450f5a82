"""What the page says: the sentences of `parts/ui_text.toml`, and how states are shown."""

import html
import tomllib
from dataclasses import dataclass
from pathlib import Path

from leffa.models.schedulers import SCHEDULERS

PARTS = Path(__file__).parent / "parts"
_TEXT = tomllib.loads((PARTS / "ui_text.toml").read_text(encoding="utf-8"))
CONSENT: str = _TEXT["consent"]
HEAD: str = _TEXT["head"].replace("CONSENT", CONSENT)
SAMPLERS: dict[str, str] = _TEXT["samplers"]
OPTIONS: dict[str, str] = _TEXT["options"]
assert set(SAMPLERS) == set(SCHEDULERS)
ADDRESS = "http://127.0.0.1:7860"
READY = "Ready."


@dataclass(frozen=True)
class TabText:
    """The sentences of one tab.

    Args:
        files: what messages call the files of a `Record`, by field.
    """

    tab: str
    person: str
    person_hint: str
    reference: str
    reference_hint: str
    button: str
    missing: str
    flow: dict[str, str]
    files: dict[str, str]


TABS = {task: TabText(**_TEXT[task]) for task in ("tryon", "pose")}


def api(address: str = ADDRESS) -> str:
    """The tab for programs, in Markdown."""
    return str(_TEXT["api"]).replace("ADDRESS", address).replace("CONSENT", CONSENT)


def title(text: str, hint: str) -> str:
    return f'<p class="leffa-title">{text}</p><p class="leffa-hint">{hint}</p>'


def status(text: str, kind: str = "") -> str:
    """The status line; `kind` is "", "error", "warn" or "done"."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="leffa-status {kind}" role="{role}">{html.escape(text)}</div>'


def progress(done: int, steps: int, left: float | None) -> str:
    """The status line with a bar; `left` is in seconds, None before the first step."""
    if left is None:
        text = f"Preparing {steps} steps…"
    else:
        text = f"Step {done} of {steps}, about {duration(left)} left"
    bar = f'<div class="leffa-bar"><i style="width: {100 * done / steps:.1f}%"></i></div>'
    return f'<div class="leffa-status" role="status">{text}{bar}</div>'


def duration(seconds: float) -> str:
    """In seconds or minutes, as one would say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
