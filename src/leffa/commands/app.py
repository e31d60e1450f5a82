"""The command that serves the web page."""

import importlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

from leffa.app.settings import Serving
from leffa.commands.options import Flag, OptionalPlace, Preset, Unset
from leffa.commands.photo import BackEnds, back_ends
from leffa.commands.predict import BASELINE, POSE_BASELINE, tell_baseline

if TYPE_CHECKING:
    from leffa.photo_to_picture import Weights
    from leffa.preprocess.photo import Tools

TITLES = {"tryon": "try-on", "pose": "pose transfer"}
Base = Annotated[str | None, arg(metavar="DIR", help_behavior_hint="")]


@dataclass(frozen=True)
class Models:
    """Any weights that `leffa predict` accepts.

    Args:
        tryon: weights for try-on: a .ckpt or the folder of a run, a folder of `leffa convert`, or a
            released .pth; default: the baseline for synthetic images
        tryon_base: base of a released .pth, see `leffa convert`
        tryon_as: type of a released .pth, see `leffa convert`
        pose: weights for pose transfer, likewise
        pose_base: base of a released .pth, see `leffa convert`
        raw: use the raw weights instead of the EMA
        released: the released Leffa in each tab without other weights, and the networks for photo
            preparation unless given below; downloaded first
    """

    tryon: OptionalPlace = None
    tryon_base: Base = None
    tryon_as: Unset[Literal["virtual_tryon", "virtual_tryon_dc"]] = None
    pose: OptionalPlace = None
    pose_base: Base = None
    raw: Flag = False
    released: Flag = False


def app(
    models: OmitArgPrefixes[Models],
    maps: OmitArgPrefixes[BackEnds],
    serving: OmitArgPrefixes[Serving],
) -> None:
    """Serve a web page with try-on and pose transfer, by default for this machine only.

    Args:
        maps: without these, users upload maps or brush masks
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the web page needs the package gradio: pip install -e '.[app]'")
    try:
        importlib.import_module("gradio")
    except ImportError as error:  # behind a SOCKS proxy it wants another package
        raise ValueError(f"the web page cannot be served: {error}") from error
    from leffa.app.server import check_port, served, wait_for_the_end
    from leffa.inference.devices import choose_devices
    from leffa.models.placement import check_performance
    from leffa.photo_to_picture.networks import PublishedNetworks, PublishedTools
    from leffa.photo_to_picture.run import bring_released

    serving.limits.check()
    (device,) = choose_devices(serving.device, 1)
    check_performance(device, serving.performance)
    check_port(serving)
    if serving.mcp and importlib.util.find_spec("mcp") is None:
        raise ValueError("--mcp needs the package mcp: pip install 'gradio[mcp]'")
    paths = {task: path for task in TITLES if (path := _weights(task, models)) is not None}
    weights: dict[str, list[Weights]] = {}
    tools: Tools | PublishedTools = back_ends(maps, device)
    if models.released:
        wanted, photos = TITLES.keys() - paths.keys(), maps == BackEnds()
        weights |= bring_released(wanted, photos, lambda line: print(line, flush=True))
        if photos:
            tools = PublishedTools(PublishedNetworks("cuda" if "cuda" in device else "cpu"))
    weights |= {task: [_load(task, path, models)] for task, path in paths.items()}
    print("Starting the page ...", flush=True)
    with served(weights, tools, replace(serving, device=device)) as address:
        print(f"{address}  (Ctrl-C stops it)", flush=True)
        wait_for_the_end()


def _weights(task: str, models: Models) -> Path | None:
    """What was given for a task; its baseline, where nothing was given at all."""
    if models.tryon or models.pose or models.released:
        given: Path | None = getattr(models, task)
        return given
    return BASELINE if task == "tryon" else POSE_BASELINE


def _load(task: str, weights: Path, models: Models) -> "Weights":
    from leffa.inference.loaded import OFFICIAL_SUFFIXES, load_model
    from leffa.photo_to_picture import Weights

    tell_baseline(weights)
    print(f"Loading {weights} ...", flush=True)
    base = getattr(models, f"{task}_base")
    preset: Preset | None = models.tryon_as if task == "tryon" else None
    if task == "pose" and weights.suffix in OFFICIAL_SUFFIXES:
        preset = "pose_transfer"
    try:
        loaded = load_model(weights, "raw" if models.raw else None, base, preset)
    except ValueError as error:  # it names the options of `leffa predict`
        message = str(error).replace("--base", f"--{task}-base").replace("--as", "--tryon-as")
        raise ValueError(message) from error
    if (other := loaded.inputs.task) != task:
        raise ValueError(f"--{task} {weights}: is for {TITLES[other]}; give it as --{other}")
    return Weights.of(loaded, weights)
