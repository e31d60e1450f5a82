"""One sample, one or two models, and what is left of them on disk: `leffa explain`.

<out>/<name>.html             to click around in, needs nothing but itself
<out>/<name>.png              the first point: person, attention, flow, warped reference
<out>/<name>_layers.png       its attention layer by layer; _heads, _timesteps likewise
<out>/<name>_p2.png, ...      the same of every further point that was asked for
<out>/<name>.json             settings, and the numbers of these points
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.explain.look import LayerShape, ModelLook, layer_shapes, read_attention
from leffa.explain.page import Explanation, render, true_matches
from leffa.explain.points import Plan, plan_points, start_point
from leffa.explain.sheets import ENDINGS, write_sheets
from leffa.explain.view import View, flow_error, looks_at, peak_mass, short_names
from leffa.inference.devices import to_device
from leffa.inference.generate import generate_batch
from leffa.inference.loaded import LoadedModel
from leffa.io.atomic import write_json, write_text
from leffa.io.outputs import marked
from leffa.metrics.result import library_versions
from leffa.models.sampler import SamplerSettings

TIMESTEPS = (800, 600, 400, 200, 50)
FIRST = 200  # the timestep that evaluations look at
MOST_LAYERS = 8  # on a page, where none were chosen
BUDGET = 6_500_000  # bytes of numbers, so that the page stays below 10 MB

Tell = Callable[[int], None]


@dataclass(frozen=True)
class ExplainSettings:
    """What is looked at.

    Args:
        timesteps: to which the picture is noised.
        temperature: tau; None: that of the first model's weights.
        points: (x, y) in [0, 1] of the picture as the model sees it, from the top left.
        layer: shown first: a dotted name, a short one, or None for all.
        head: shown first, from 1; None for the mean.
        layers: those on the page, dotted or short names; empty for all, or an even choice of many.
        paint: "source" noises the person's own picture, as training does; "generated" what the
            model makes.
        seed: of the noise, with the sample's name.
        budget: bytes of numbers on the page.
    """

    timesteps: Sequence[int] = TIMESTEPS
    temperature: float | None = None
    points: Sequence[tuple[float, float]] = ()
    layer: str | None = None
    head: int | None = None
    layers: Sequence[str] = ()
    paint: Literal["source", "generated"] = "source"
    seed: int = 0
    budget: int = BUDGET

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
    sampler: SamplerSettings | None = None,
    device: str = "cpu",
    on_look: Tell | None = None,
) -> Explanation:
    """Look with one model, or with two at the same points; the device holds one at a time.

    Args:
        batch: of one sample.
        sampler: of `paint="generated"`; None: that of each model's weights.
        on_look: is told how many timesteps are done, over all models.

    Raises:
        ValueError: the models have different layers, or what is asked for is not there.
    """
    place = torch.device(device)
    plan: Plan | None = None
    encoding = "", 0
    shapes: dict[str, LayerShape] = {}
    temperature = settings.temperature
    looks: list[ModelLook] = []
    for model in models:
        loaded = model.load()
        network = loaded.model.to(place).eval()
        here = to_device(batch, place)
        found = layer_shapes(network, here)
        if not found:
            raise ValueError(
                f"{model.weights}: no attention of a {type(network).__name__} goes from its "
                "picture to the reference; see `leffa predict --save-flow` for its flow"
            )
        if plan is None:
            shapes = chosen_layers(found, settings.layers)
            view = _view(settings, shapes)
            temperature = temperature or loaded.settings.temperature
            encoding = loaded.inputs.densepose, loaded.inputs.part_range
            count = len(settings.timesteps) * len(models)
            asked = [(2 * x - 1, 2 * y - 1) for x, y in settings.points]
            plan = plan_points(batch, shapes, count, settings.budget, asked)
        elif any(found.get(name) != shape for name, shape in shapes.items()):
            raise ValueError(
                f"{model.weights}: has other attention layers than {models[0].weights}, so the two "
                "cannot stand side by side"
            )
        elif (other := (loaded.inputs.densepose, loaded.inputs.part_range)) != encoding:
            reads = [f"{name} (parts of {parts})" for name, parts in (other, encoding)]
            raise ValueError(
                f"{model.weights}: reads DensePose as {reads[0]}, {models[0].weights} as "
                f"{reads[1]}, so one sample cannot serve both"
            )
        painted: Tensor | None = None
        if settings.paint == "generated":
            chosen = sampler or loaded.settings.sampler
            painted = generate_batch(network, here, replace(chosen, paste_back=False))
        done = len(looks) * len(settings.timesteps)
        assert temperature is not None
        looks.append(
            read_attention(
                network,
                here,
                plan.points,
                settings.timesteps,
                temperature,
                title=model.title,
                painted=painted,
                layers=list(shapes),
                cells=plan.cells,
                seed=settings.seed,
                on_step=None if on_look is None else lambda step, d=done: on_look(d + step),  # type: ignore[misc]
            )
        )
        network.to("cpu")
    assert plan is not None and temperature is not None
    start = 0 if settings.points else start_point(batch, plan.points)
    facts = _facts(models, batch, settings, temperature, plan, shapes)
    return Explanation(batch, plan.points, start, view, temperature, looks, plan.cells, facts)


def write_explanation(
    explanation: Explanation, models: Sequence[Model], settings: ExplainSettings, out: Path
) -> list[Path]:
    """Write the page, the sheets of each point that was asked for, and the numbers."""
    stem = out / explanation.name
    page = out / f"{explanation.name}.html"
    write_text(page, render(explanation))
    asked = list(range(len(settings.points))) or [explanation.start]
    made = [page]
    for number, point in enumerate(asked, start=1):
        named = stem if number == 1 else stem.with_name(f"{stem.name}_p{number}")
        made += write_sheets(explanation, point, named)
    numbers = out / f"{explanation.name}.json"
    content = {
        "weights": {model.title: str(model.weights) for model in models},
        "timesteps": list(settings.timesteps),
        "temperature": explanation.temperature,
        "noised": settings.paint,
        "seed": settings.seed,
        "models": {look.title: _numbers(explanation, look, asked) for look in explanation.looks},
        "versions": library_versions(),
    }
    write_json(numbers, marked(content))
    return [*made, numbers]


def explained_files(name: str, settings: ExplainSettings, out: Path) -> list[Path]:
    """All that `write_explanation` may write of a sample."""
    stems = [name, *(f"{name}_p{number}" for number in range(2, len(settings.points) + 1))]
    sheets = [out / f"{stem}{ending}.png" for stem in stems for ending in ENDINGS]
    return [out / f"{name}.html", out / f"{name}.json", *sheets]


def _numbers(explanation: Explanation, look: ModelLook, points: Sequence[int]) -> dict[str, Any]:
    """What the page tells in words, by timestep and layer; the mean over heads."""
    matches = true_matches(explanation.batch, explanation.points[list(points)])
    found: dict[str, Any] = {}
    for timestep, layers in look.layers.items():
        for name in [None, *layers]:
            view = View(timestep, name)
            found.setdefault(str(timestep), {})["all" if name is None else name] = {
                "epe_px": flow_error(layers, view, explanation.batch),
                "points": [
                    {
                        "point": explanation.points[point].tolist(),
                        "looks_at": looks_at(layers, view, point).tolist(),
                        "true_match": match,
                        "peak_mass": peak_mass(layers, view, point),
                    }
                    for point, match in zip(points, matches, strict=True)
                ],
            }
    return found


def chosen_layers(found: dict[str, LayerShape], wanted: Sequence[str]) -> dict[str, LayerShape]:
    """The layers of a page: those wanted, else all of a small model and an even choice of a large
    one's."""
    if not wanted:
        names = list(found)
        if len(names) > MOST_LAYERS:
            steps = [round(i * (len(names) - 1) / (MOST_LAYERS - 1)) for i in range(MOST_LAYERS)]
            names = [names[step] for step in steps]
        return {name: found[name] for name in names}
    kept = {_full_name(name, found) for name in wanted}
    return {name: shape for name, shape in found.items() if name in kept}


def _full_name(name: str, known: dict[str, LayerShape]) -> str:
    """The dotted name of a layer that is called by it, or by its short one."""
    by_short = {short: full for full, short in short_names(known).items()}
    full = name if name in known else by_short.get(name)
    if full is None:
        raise ValueError(f"layer {name!r}: these weights have {', '.join(by_short)}")
    return full


def _view(settings: ExplainSettings, shapes: dict[str, LayerShape]) -> View:
    timestep = min(settings.timesteps, key=lambda timestep: abs(timestep - FIRST))
    if settings.layer is None:
        if settings.head is not None:
            raise ValueError("a head belongs to a layer: give the layer as well")
        return View(timestep)
    layer = _full_name(settings.layer, shapes)
    if settings.head is not None and not 1 <= settings.head <= shapes[layer].heads:
        heads = shapes[layer].heads
        raise ValueError(
            f"head {settings.head}: layer {settings.layer} has {heads}, counted from 1"
        )
    return View(timestep, layer, None if settings.head is None else settings.head - 1)


def _facts(
    models: Sequence[Model],
    batch: Batch,
    settings: ExplainSettings,
    temperature: float,
    plan: Plan,
    shapes: dict[str, LayerShape],
) -> dict[str, str]:
    height, width = batch["source"].shape[-2:]
    noised = "the person's own picture" if settings.paint == "source" else "the generated picture"
    return {
        "sample": f"{batch['name'][0]}, {height}x{width}",
        **{f"weights: {model.title}": str(model.weights) for model in models},
        "temperature": f"{temperature:g}",
        "noised": f"{noised}; seed {settings.seed}",
        "layers": ", ".join(short_names(shapes).values()),
        "points": f"{len(plan.points)}; maps of at most {plan.cells} cells a side",
    }
