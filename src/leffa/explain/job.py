"""A run of `leffa explain`: one sample, one or two models, and the files that it writes.

<out>/<name>.html             self-contained, to click around in
<out>/<name>.png              the first point: person, attention, flow, warped reference
<out>/<name>_layers.png       its attention layer by layer; _heads, _timesteps likewise
<out>/<name>_p2.png, ...      the same of every further point that was asked for
<out>/<name>.json             settings, and the numbers of these points
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from leffa.data.batch import Batch
from leffa.explain.attention import LayerShape, ModelReading, layer_shapes, read_attention
from leffa.explain.layers import ALL, chosen_layers, full_names, trained_layers
from leffa.explain.page import Explanation, render
from leffa.explain.points import plan_points, start_point
from leffa.explain.sheets import ENDINGS, write_sheets
from leffa.explain.view import (
    View,
    attended_position,
    flow_scores,
    has_matches,
    peak_mass,
    short_names,
    true_matches,
)
from leffa.inference.devices import to_device
from leffa.inference.generate import generate_batch
from leffa.inference.loaded import LoadedModel
from leffa.io.atomic import write_json, write_text
from leffa.io.outputs import marked
from leffa.losses.matches import stored_matches
from leffa.metrics.flow import PCK_PERCENT, flow_baselines
from leffa.metrics.result import library_versions
from leffa.models.interface import PersonGenerator

TIMESTEPS = (800, 600, 400, 200, 50)
FIRST = 200  # the timestep that evaluations look at
BUDGET = 6_500_000  # bytes of numbers, so that the page stays below 10 MB


@dataclass(frozen=True)
class ExplainSettings:
    """What to show.

    Args:
        timesteps: to which the image is noised.
        temperature: tau; None: that of the first model's weights.
        points: (x, y) in [0, 1] of the image as the model sees it, from the top left.
        layer: shown first: a dotted name, a short one, or "all"; None for the one that the loss
            trains, or all where it trains several.
        head: shown first, from 1; None for the mean.
        layers: those on the page, dotted or short names; empty for all, or of many an even choice
            and those that the loss trains.
        paint: "source" noises the person's own image, as training does; "generated" what the
            model makes.
        seed: of the noise, with the sample's name.
    """

    timesteps: Sequence[int] = TIMESTEPS
    temperature: float | None = None
    points: Sequence[tuple[float, float]] = ()
    layer: str | None = None
    head: int | None = None
    layers: Sequence[str] = ()
    paint: Literal["source", "generated"] = "source"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.timesteps:
            raise ValueError("no timestep: give at least one")
        if self.temperature is not None and self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        for x, y in self.points:
            if not (0 <= x <= 1 and 0 <= y <= 1):
                raise ValueError(f"point {x:g},{y:g}: give x and y from 0 to 1")


@dataclass(frozen=True)
class Model:
    """One of the models: how it is called, where its weights are, and how they are loaded."""

    title: str
    weights: Path
    load: Callable[[], LoadedModel]


def explain(
    models: Sequence[Model],
    batch: Batch,
    settings: ExplainSettings,
    device: str = "cpu",
    on_step: Callable[[int], object] = lambda done: None,
) -> Explanation:
    """Read the attention of one model, or of two at the same points, on a batch of one sample.

    The device holds one model at a time.

    Args:
        on_step: called with the number of timesteps done, over all models.

    Raises:
        ValueError: the models have different layers, or what is asked for is not there.
    """
    place = torch.device(device)
    here = to_device(batch, place)
    readings: list[ModelReading] = []
    done = itertools.count(1)
    for model in models:
        loaded = model.load()
        network = loaded.model.to(place).eval()
        found = _readable_layers(network, here, model.weights)
        if not readings:
            first, start = loaded, _first_layers(settings, found, loaded)
            trained = trained_layers(found, loaded)
            shapes = chosen_layers(found, settings.layers, [*start, *trained])
            view = _first_view(settings, shapes, start)
            plan = _plan(models, batch, settings, first, shapes, view)
        else:
            _check_comparable(models, shapes, found, first, loaded)
        painted = None
        if settings.paint == "generated":
            sampler = replace(loaded.settings.sampler, paste_back=False)
            painted = generate_batch(network, here, sampler)
        readings.append(
            read_attention(
                *(network, here, plan.points, settings.timesteps, plan.temperature),
                title=model.title,
                painted=painted,
                layers=list(shapes),
                cells=plan.cells,
                seed=settings.seed,
                on_step=lambda _: on_step(next(done)),
            )
        )
        network.to("cpu")
    return replace(plan, readings=readings)


def _readable_layers(
    network: PersonGenerator, batch: Batch, weights: Path
) -> dict[str, LayerShape]:
    """The layers that look at the reference; raises ValueError where there are none."""
    if found := layer_shapes(network, batch):
        return found
    raise ValueError(
        f"{weights}: no attention of a {type(network).__name__} goes from its image to the "
        "reference; see `leffa predict --save-flow` for its flow"
    )


def _plan(
    models: Sequence[Model],
    batch: Batch,
    settings: ExplainSettings,
    first: LoadedModel,
    shapes: dict[str, LayerShape],
    view: View,
) -> Explanation:
    """The page without its numbers."""
    asked = [(2 * x - 1, 2 * y - 1) for x, y in settings.points]
    passes = len(settings.timesteps) * len(models)
    points, cells, _ = plan_points(batch, shapes, passes, BUDGET, asked)
    temperature = settings.temperature or first.settings.temperature
    height, width = batch["source"].shape[-2:]
    noised = "the person's own image" if settings.paint == "source" else "the generated image"
    facts = {
        "sample": f"{batch['name'][0]}, {height}x{width}",
        **{f"weights: {model.title}": str(model.weights) for model in models},
        "temperature": f"{temperature:g}",
        "noised": f"{noised}; seed {settings.seed}",
        "layers": ", ".join(short_names(shapes).values()),
        "points": f"{len(points)}; maps of at most {cells} cells a side",
    }
    if has_matches(batch):
        facts["EPE"] = _matches_in_words(batch)
    start = 0 if settings.points else start_point(batch, points)
    return Explanation(batch, points, start, view, temperature, [], cells, facts)


def _matches_in_words(batch: Batch) -> str:
    """Where the error of attention is measured, and what flows have that need no network."""
    flows, (known,) = flow_baselines(lambda: [batch]), stored_matches(batch["matches"])
    told = (
        f"{name} flow {flows[f'flow_{name}/match_epe_px']:.1f} px, PCK {PCK_PERCENT} % "
        f"{flows[f'flow_{name}/match_pck_{PCK_PERCENT}']:.2f}"
        for name in ("identity", "constant")
    )
    return f"at {len(known)} trusted matches; {'; '.join(told)}"


def _check_comparable(
    models: Sequence[Model],
    shapes: dict[str, LayerShape],
    found: dict[str, LayerShape],
    first: LoadedModel,
    second: LoadedModel,
) -> None:
    """Raise ValueError where the second model has other layers, or reads the sample otherwise."""
    one, other = (model.weights for model in models)
    if any(found.get(name) != shape for name, shape in shapes.items()):
        raise ValueError(
            f"{other}: has other attention layers than {one}, so the two cannot be compared"
        )
    reads = [
        f"{loaded.inputs.densepose} (parts of {loaded.inputs.part_range})"
        for loaded in (first, second)
    ]
    if reads[0] != reads[1]:
        raise ValueError(
            f"{other}: reads DensePose as {reads[1]}, {one} as {reads[0]}, so one sample does not "
            "fit both"
        )


def _first_layers(
    settings: ExplainSettings, found: dict[str, LayerShape], loaded: LoadedModel
) -> list[str]:
    """The layer asked for, or those that the loss trains; none: all."""
    if settings.layer == ALL:
        return []
    if settings.layer is None:
        return trained_layers(found, loaded)
    names = full_names(settings.layer, found)
    if len(names) > 1:
        raise ValueError(f"layer {settings.layer!r}: names {len(names)} layers; give one, or all")
    return names


def _first_view(
    settings: ExplainSettings, shapes: dict[str, LayerShape], start: Sequence[str]
) -> View:
    timestep = min(settings.timesteps, key=lambda timestep: abs(timestep - FIRST))
    head = None if settings.head is None else settings.head - 1
    layer = start[0] if len(start) == 1 else None
    if layer not in shapes:
        if settings.layer not in (None, ALL):
            raise ValueError(f"layer {settings.layer!r}: is not among the layers of the page")
        if head is not None:
            raise ValueError("a head belongs to a layer: give the layer as well")
        return View(timestep)
    if head is not None and not 0 <= head < shapes[layer].heads:
        raise ValueError(
            f"head {settings.head}: layer {short_names(shapes)[layer]} has {shapes[layer].heads}, "
            "counted from 1"
        )
    return View(timestep, layer, head)


def write_explanation(
    explanation: Explanation, models: Sequence[Model], settings: ExplainSettings, out: Path
) -> list[Path]:
    """Write the page, the sheets of each point that was asked for, and the numbers."""
    page, numbers, *_ = explained_files(explanation.name, settings, out)
    write_text(page, render(explanation))
    asked = list(range(len(settings.points))) or [explanation.start]
    sheets = []
    for stem, point in zip(_stems(explanation.name, settings), asked, strict=True):
        sheets += write_sheets(explanation, point, out / stem)
    content = {
        "weights": {model.title: str(model.weights) for model in models},
        "timesteps": list(settings.timesteps),
        "temperature": explanation.temperature,
        "noised": settings.paint,
        "seed": settings.seed,
        "baselines": flow_baselines(lambda: [explanation.batch]),
        "models": {seen.title: _numbers(explanation, seen, asked) for seen in explanation.readings},
        "versions": library_versions(),
    }
    write_json(numbers, marked(content))
    return [page, *sheets, numbers]


def explained_files(name: str, settings: ExplainSettings, out: Path) -> list[Path]:
    """All that `write_explanation` may write of a sample: the page, the numbers, the sheets."""
    sheets = [f"{stem}{ending}.png" for stem in _stems(name, settings) for ending in ENDINGS]
    return [out / file for file in (f"{name}.html", f"{name}.json", *sheets)]


def _stems(name: str, settings: ExplainSettings) -> list[str]:
    """What the sheets of each point are called."""
    return [name, *(f"{name}_p{number}" for number in range(2, len(settings.points) + 1))]


def _numbers(explanation: Explanation, seen: ModelReading, points: Sequence[int]) -> dict[str, Any]:
    """The page's numbers in words, by timestep and layer; the mean over heads."""
    places = explanation.points[list(points)]
    known = list(zip(points, places.tolist(), true_matches(explanation.batch, places), strict=True))
    found: dict[str, Any] = {}
    for timestep, layers in seen.layers.items():
        for name in [None, *layers]:
            view = View(timestep, name)
            found.setdefault(str(timestep), {})[name or "all"] = {
                "epe_px": None,  # unless one is known
                **flow_scores(layers, view, explanation.batch),
                "points": [
                    {
                        "point": place,
                        "looks_at": attended_position(layers, view, point).tolist(),
                        "true_match": match,
                        "peak_mass": peak_mass(layers, view, point),
                    }
                    for point, place, match in known
                ],
            }
    return found
