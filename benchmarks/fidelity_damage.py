"""What each metric of the garment's fidelity says of damage, from none to severe.

    python benchmarks/fidelity_damage.py [--persons 3] [--height 256] [--out benchmarks/results]

Numbers and curves. Synthetic persons wear a garment with a printed word and marks. Their true
pictures are damaged in one way at a time, and scored against themselves by protocol leffa@2.
`tests/metrics/test_damage.py` holds the table of docs/reference/metrics.md, which says what must
fall under which.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt, gaussian_filter, shift

from leffa.io.atomic import write_json
from leffa.losses.flow import warp
from leffa.metrics.protocols import PROTOCOLS
from leffa.metrics.result import Scores
from leffa.metrics.score import score_folders
from leffa.synthetic.render import TryOnDrawing, draw_tryon

Picture = NDArray[np.float32]  # (H, W, 3) in [0, 1]
Mask = NDArray[np.bool_]

PROTOCOL = PROTOCOLS["leffa@2"]
METRICS = tuple(name for name in PROTOCOL.fidelity if name != "garment_attention")
GRADES = (0.0, 0.25, 0.5, 1.0)
GARMENT = (5, 6, 7)  # its labels in the parsing map
WORDS = ("HOTELS", "MARKET", "WINTER", "CAMERA", "GARDEN", "PLANET", "ROCKET", "BRIDGE")
OTHERS = ("XJQVKW", "ZLGPQX", "JFBGSV", "QJXZKQ", "VXLPKS", "XWGKVJ", "ZWUHNS", "QWJCLX")
SEED = 4


@dataclass(frozen=True)
class Scene:
    """A synthetic person in a printed garment, and in two others for comparison."""

    name: str
    true: Picture
    garment: Picture
    worn: Mask
    inpainted: Mask
    other_letters: Picture  # the person, with another word
    other_garment: Picture


def draw_scene(number: int, height: int) -> Scene:
    """The person of this number, in an upper garment with a word on it."""
    size = height, height * 3 // 4
    drawing = draw_tryon(SEED, number, *size)
    other = draw_tryon(SEED, number, *size, garment_of=number + 100)
    word = number % len(WORDS)
    garment = printed(drawing, WORDS[word], number)
    return Scene(
        name=f"{number:02}",
        true=_worn(drawing, garment),
        garment=garment,
        worn=np.isin(drawing.person.parsing, GARMENT) & drawing.agnostic_mask,
        inpainted=drawing.agnostic_mask,
        other_letters=_worn(drawing, printed(drawing, OTHERS[word], number)),
        other_garment=other.person.image / np.float32(255),
    )


def printed(drawing: TryOnDrawing, word: str, seed: int) -> Picture:
    """The garment's photograph with a word across the chest, and small marks below it."""
    rows, columns = np.nonzero(drawing.garment_mask)
    middle = (int(columns.min()) + int(columns.max())) // 2
    top, tall = int(rows.min()), int(np.ptp(rows))
    image = Image.fromarray(drawing.garment)
    pen = ImageDraw.Draw(image)
    level = drawing.garment[drawing.garment_mask].mean()
    ink = (16, 16, 24) if level > 128 else (244, 244, 236)
    paper = (244, 244, 236) if level > 128 else (16, 16, 24)
    font = ImageFont.load_default(tall * 0.13)
    place = (middle, top + tall * 0.36)
    left, upper, right, lower = pen.textbbox(place, word, font=font, anchor="mm")
    pad = tall * 0.03
    pen.rectangle((left - pad, upper - pad, right + pad, lower + pad), fill=paper)
    pen.text(place, word, fill=ink, font=font, anchor="mm")
    random = np.random.default_rng(seed)
    for x, y, size in zip(*random.uniform(-1, 1, (2, 60)), random.uniform(1, 3, 60), strict=True):
        at = np.array([middle + x * tall * 0.24, top + tall * (0.68 + 0.18 * y)])
        half = tall * 0.009 * size
        colour = tuple(int(level) for level in random.integers(0, 256, 3))
        shape = random.choice([pen.rectangle, pen.ellipse])
        shape((*(at - half), *(at + half)), fill=colour)
    pixels = np.asarray(image) / np.float32(255)
    original = drawing.garment / np.float32(255)
    return np.where(drawing.garment_mask[..., None], pixels, original)


def _worn(drawing: TryOnDrawing, garment: Picture) -> Picture:
    """The person with what was printed on the garment, under the same folds."""
    change = torch.from_numpy(garment - drawing.garment / np.float32(255)).movedim(-1, 0)[None]
    flow = torch.from_numpy(drawing.flow).float()[None]
    moved = warp(change, flow)[0].movedim(0, -1).numpy() * drawing.flow_valid[..., None]
    return np.clip(drawing.person.image / np.float32(255) + moved, 0, 1).astype(np.float32)


# ---- damage: a scene and a grade from 0, none, to 1 ----


def blurred(scene: Scene, grade: float) -> Picture:
    sigma = grade * 0.015 * len(scene.true)
    return _inside(scene.worn, gaussian_filter(scene.true, (sigma, sigma, 0)), scene.true)


def shifted(scene: Scene, grade: float) -> Picture:
    pixels = grade * 0.04 * len(scene.true)
    moved = shift(scene.true, (pixels / 2, pixels, 0), order=1, mode="nearest")
    return _inside(scene.inpainted, moved, scene.true)


def recoloured(scene: Scene, grade: float) -> Picture:
    tint = np.array([0.20, -0.08, -0.16], np.float32) * grade
    return _inside(scene.worn, np.clip(scene.true + tint, 0, 1), scene.true)


def in_wrong_garment(scene: Scene, grade: float) -> Picture:
    return (1 - grade) * scene.true + grade * _inside(
        scene.inpainted, scene.other_garment, scene.true
    )


def with_changed_letters(scene: Scene, grade: float) -> Picture:
    return (1 - grade) * scene.true + grade * scene.other_letters


def bleeding(scene: Scene, grade: float) -> Picture:
    """The garment's colour beyond the mask that was generated in."""
    away = distance_transform_edt(~scene.inpainted) / len(scene.true)
    reached = (away > 0) & (away < 0.12 * grade)
    colour = scene.true[scene.worn].mean(axis=0)
    return _inside(reached, 0.5 * scene.true + 0.5 * colour, scene.true)


DAMAGES: dict[str, Callable[[Scene, float], Picture]] = {
    "blur": blurred,
    "shift": shifted,
    "colour": recoloured,
    "wrong garment": in_wrong_garment,
    "changed letters": with_changed_letters,
    "bleeding": bleeding,
}


def _inside(mask: Mask, inner: NDArray[Any], outer: Picture) -> Picture:
    return np.where(mask[..., None], inner, outer).astype(np.float32)


# ---- scores ----


def write_scenes(folder: Path, scenes: Sequence[Scene]) -> None:
    """The true pictures, and what `leffa score` reads beside them."""
    for side in ("true", "garments", "worn", "inpainted"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for scene in scenes:
            picture = scene.garment if side == "garments" else getattr(scene, side)
            _save(picture, folder / side / f"{scene.name}.png")


def score_damage(
    folder: Path, scenes: Sequence[Scene], damage: str, grade: float, metrics: Sequence[str]
) -> Scores:
    """The scores of the scenes with this damage, by `metrics` of the protocol."""
    (folder / "pred").mkdir(exist_ok=True)
    for scene in scenes:
        _save(DAMAGES[damage](scene, grade), folder / "pred" / f"{scene.name}.png")
    beside = {role: folder / role for role in ("worn", "inpainted", "garments")}
    return score_folders(folder / "pred", folder / "true", PROTOCOL, beside=beside, metrics=metrics)


def _save(picture: NDArray[Any], path: Path) -> None:
    Image.fromarray(np.rint(picture.astype(np.float32) * 255).astype(np.uint8)).save(path)


def draw_curves(curves: dict[str, dict[str, list[float | None]]], path: Path) -> None:
    """A row of panels a metric: its value over the grade of each damage."""
    figure, axes = plt.subplots(2, (len(METRICS) + 1) // 2, figsize=(11, 5), layout="constrained")
    for axis, metric in zip(axes.flat, METRICS, strict=False):
        for damage, values in curves[metric].items():
            known = [float("nan") if value is None else value for value in values]
            axis.plot(GRADES, known, label=damage, linewidth=1.4)
        axis.set_title(metric, fontsize=9)
        axis.set_xlabel("grade of damage", fontsize=8)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(METRICS) :]:
        axis.axis("off")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=len(DAMAGES))
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--persons", type=int, default=3)
    parser.add_argument("--height", type=int, default=256, help="of the pictures, 4:3")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    scenes = [draw_scene(number, given.height) for number in range(given.persons)]
    scores: dict[str, list[Scores]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), scenes)
        none = score_damage(Path(folder), scenes, "blur", 0.0, METRICS)
        for damage in DAMAGES:
            grades = GRADES[1:]
            found = [score_damage(Path(folder), scenes, damage, g, METRICS) for g in grades]
            scores[damage] = [none, *found]
            print(damage, {name: round(value, 4) for name, value in found[-1].values.items()})
    curves, coverage = (
        {
            metric: {d: [getattr(x, field).get(metric) for x in each] for d, each in scores.items()}
            for metric in METRICS
        }
        for field in ("values", "coverage")
    )
    settings = {"persons": given.persons, "height": given.height, "grades": GRADES}
    result = {**settings, "values": curves, "images judged": coverage}
    write_json(given.out / "fidelity_damage.json", result)
    draw_curves(curves, given.out / "fidelity_damage.png")


if __name__ == "__main__":
    main()
