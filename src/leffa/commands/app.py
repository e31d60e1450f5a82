"""The command that serves the web page."""

import argparse
import contextlib
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from leffa.commands.convert import PRESETS
from leffa.commands.options import Runner
from leffa.commands.photo import back_end_options, back_ends

if TYPE_CHECKING:
    from leffa.inference import LoadedModel

DEMO = Path("outputs/demo/runs/leffa")
TITLES = {"tryon": "try-on", "pose": "pose transfer"}


def app(parser: argparse.ArgumentParser) -> Runner:
    """Serve the web page: try-on and pose transfer in a browser, on this machine alone."""
    _models(parser.add_argument_group("models; any weights that `leffa predict` takes"))
    group = parser.add_argument_group("maps of photographs; without, users upload or brush them")
    back_end_options(group)
    group.add_argument("--recipe", metavar="NAME", help="of masks; default: that of the training")
    _serving(parser.add_argument_group("serving"))

    def run(args: argparse.Namespace) -> None:
        if importlib.util.find_spec("gradio") is None:
            raise ValueError("the web page needs the package gradio: pip install 'leffa[app]'")
        try:
            importlib.import_module("gradio")
        except ImportError as error:  # behind a SOCKS proxy it wants another package
            raise ValueError(f"the web page cannot be served: {error}") from error
        _serve(args)

    return run


def _models(group: "argparse._ArgumentGroup") -> None:
    for task, title in TITLES.items():
        default = f"; default: {DEMO}, where it is" if task == "tryon" else ""
        group.add_argument(
            f"--{task}",
            type=Path,
            metavar="PATH",
            help=f"for {title}: a .ckpt or the folder of a run, a folder of `leffa convert`, or a "
            f"released .pth{default}",
        )
        group.add_argument(
            f"--{task}-base", metavar="DIR", help="of a released .pth: see `leffa convert`"
        )
    group.add_argument("--tryon-as", choices=PRESETS[:2], help="of a released .pth: likewise")
    group.add_argument("--raw", action="store_true", help="as trained, not the running average")


def _serving(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="0.0.0.0: all networks of this machine; default: 127.0.0.1, this machine alone",
    )
    group.add_argument("--port", type=int, help="default: the first free one from 7860")
    group.add_argument(
        "--share", action="store_true", help="also a public address, by a server of gradio's makers"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, mps; default: auto")
    # Known here as well as in `app.limits`, which needs gradio beside it.
    for name, default, purpose in (
        ("--max-megabytes", 20.0, "of an uploaded file"),
        ("--max-megapixels", 25.0, "of an uploaded picture"),
        ("--max-steps", 100, "of a picture"),
        ("--timeout", 600.0, "seconds for a picture"),
        ("--queue", 16, "requests that may wait"),
    ):
        group.add_argument(
            name, type=type(default), default=default, help=f"{purpose}; default: {default:g}"
        )


def _serve(args: argparse.Namespace) -> None:
    from leffa.app.limits import Limits
    from leffa.app.server import Serving, served, wait_for_the_end
    from leffa.evaluation.generate import choose_devices

    (args.device,) = choose_devices(args.device, 1)
    limits = Limits(
        args.max_megabytes, args.max_megapixels, args.max_steps, args.timeout, args.queue
    )
    serving = Serving(args.host, args.port, args.share, args.device, args.recipe, limits)
    weights = {task: path for task in TITLES if (path := _weights(task, args)) is not None}
    if not weights:
        raise ValueError(
            f"no model to show: there is none of the demo in {DEMO}; run `leffa demo` here, which "
            "trains one, or give --tryon PATH or --pose PATH"
        )
    with contextlib.ExitStack() as stack:
        tools = back_ends(args, stack)
        models = {task: (_load(task, path, args), path) for task, path in weights.items()}
        print("Starting the page ...", flush=True)
        with served(models, tools, serving) as address:
            print(f"{address}  (Ctrl-C ends it)", flush=True)
            wait_for_the_end()


def _weights(task: str, args: argparse.Namespace) -> Path | None:
    """What was given for a task; for try-on, else what the demo has left."""
    given: Path | None = getattr(args, task)
    if given is None and task == "tryon" and any(DEMO.glob("checkpoints/*.ckpt")):
        return DEMO
    return given


def _load(task: str, weights: Path, args: argparse.Namespace) -> "LoadedModel":
    from leffa.inference.loaded import OFFICIAL_SUFFIXES, load_model

    print(f"Loading {weights} ...", flush=True)
    base = getattr(args, f"{task}_base")
    preset = args.tryon_as if task == "tryon" else None
    if task == "pose" and weights.suffix in OFFICIAL_SUFFIXES:
        preset = "pose_transfer"
    try:
        loaded = load_model(weights, "raw" if args.raw else None, base, preset)
    except ValueError as error:  # it names the options of `leffa predict`
        message = str(error).replace("--base", f"--{task}-base").replace("--as", "--tryon-as")
        raise ValueError(message) from error
    if (other := loaded.inputs.task) != task:
        raise ValueError(f"--{task} {weights}: is for {TITLES[other]}; give it as --{other}")
    return loaded
