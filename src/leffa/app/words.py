"""What the page says, by task ("tryon" or "pose")."""

import html
from dataclasses import dataclass

from leffa.app.desk import Progress
from leffa.models.sampler import SCHEDULERS


@dataclass(frozen=True)
class Words:
    """The sentences of one tab."""

    tab: str
    person: str
    person_hint: str
    reference: str
    reference_hint: str
    button: str
    flow: dict[str, str]
    missing: str


_TRYON = Words(
    tab="Try-on",
    person="1. Person",
    person_hint="Upload a photograph, or choose one below.",
    reference="2. Garment",
    reference_hint="A garment on a plain background.",
    button="Dress the person",
    flow={
        "start": "Hold the pointer over the repainted part of the result.",
        "found": "This point, {x} from the left and {y} from the top, was painted by looking at "
        "the garment {to_x} from the left and {to_y} from the top.",
        "kept": "This point is the photograph itself; nothing was repainted here.",
        "none": "This model has no attention layer fine enough to show where it looks.",
    },
    missing="""
<h3>No try-on model is loaded</h3>
<p>Start the page with one. Any weights that <code>leffa predict</code> takes will do:</p>
<pre>leffa app --tryon outputs/demo/runs/leffa        # what `make demo` leaves
leffa app --tryon RUN_OR_CKPT                    # a training of yours
leffa app --tryon FOLDER                         # a folder of `leffa convert`
leffa app --tryon virtual_tryon.pth --tryon-base DIFFUSERS_FOLDER</pre>
<p><code>make demo</code> trains a small one in about a quarter of an hour; then plain
<code>leffa app</code> finds it.</p>
""",
)
_POSE = Words(
    tab="Pose transfer",
    person="1. Pose",
    person_hint="A picture of anybody in the pose that is wanted.",
    reference="2. Person",
    reference_hint="The person who is to take the pose.",
    button="Take the pose",
    flow={
        "start": "Hold the pointer over the result.",
        "found": "This point, {x} from the left and {y} from the top, was painted by looking at "
        "the person {to_x} from the left and {to_y} from the top.",
        "kept": "Nothing was painted here.",
        "none": "This model has no attention layer fine enough to show where it looks.",
    },
    missing="""
<h3>No pose-transfer model is loaded</h3>
<p>Start the page with one. Any weights that <code>leffa predict</code> takes will do:</p>
<pre>leffa app --pose RUN_OR_CKPT                     # a training of yours
leffa app --pose FOLDER                          # a folder of `leffa convert`
leffa app --pose pose_transfer.pth --pose-base DIFFUSERS_FOLDER</pre>
<p>A small one for drawn persons: <code>python train.py experiment=pose_synthetic</code>.</p>
""",
)
WORDS = {"tryon": _TRYON, "pose": _POSE}

SAMPLERS = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "dpm_solver": "DPM-Solver++",
    "unipc": "UniPC",
    "euler": "Euler",
}
assert set(SAMPLERS) == set(SCHEDULERS)

HEAD = """
<div class="leffa-head"><h1>Leffa</h1>
<p>Virtual try-on and pose transfer. Your pictures stay on this server while the page is open, and
are deleted when you close it.</p></div>
"""

ADDRESS = "http://127.0.0.1:7860"
_API = """
### From a program

Both tabs are endpoints of this server; the same limits and the same queue hold.

```python
from gradio_client import Client, handle_file

client = Client("ADDRESS")
picture, settings = client.predict(
    person=handle_file("person.jpg"),
    reference=handle_file("garment.jpg"),
    mask=handle_file("mask.png"),  # white is repainted; None where the server makes masks
    densepose=handle_file("iuv.png"),  # None where the server makes them
    category="upper_body",
    steps=20,
    guidance=2.5,
    seed=42,
    sampler="ddim",
    paste_back=True,
    api_name="/tryon",
)
print(picture, settings)  # files on this machine: the PNG, and a JSON of how it was made
```

`api_name="/pose"` is pose transfer: `person` has the pose, `reference` the looks.
"""


def api(address: str = ADDRESS) -> str:
    """The tab for programs, in Markdown."""
    return _API.replace("ADDRESS", address)


def title(text: str, hint: str = "") -> str:
    """A heading inside a tab."""
    below = f'<p class="leffa-hint">{hint}</p>' if hint else ""
    return f'<p class="leffa-title">{text}</p>{below}'


def status(text: str, kind: str = "") -> str:
    """The line that says how things stand; `kind` is "", "error", "warn" or "done"."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="leffa-status {kind}" role="{role}">{html.escape(text)}</div>'


def progress(news: Progress) -> str:
    """The line while the loop runs, with a bar and an estimate."""
    if news.left is None:
        text = f"Preparing {news.steps} steps…"
    else:
        text = f"Step {news.done} of {news.steps}, about {duration(news.left)} left"
    share = 100 * news.done / news.steps
    bar = f'<div class="leffa-bar"><i style="width: {share:.1f}%"></i></div>'
    return f'<div class="leffa-status" role="status">{text}{bar}</div>'


def duration(seconds: float) -> str:
    """In seconds or minutes, as one would say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
