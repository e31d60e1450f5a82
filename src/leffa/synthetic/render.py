"""Synthetic samples: one call renders a person, what they wear, and the exact labels.

    drawing = draw_tryon(seed=0, index=7, height=256, width=192)
    drawing.person.image, drawing.garment, drawing.flow   # what to paint, from what, looking where

A sample depends only on (seed, index) and the image size; the size changes the resolution, not the
scene.
"""

import colorsys
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from PIL import Image

from leffa.data.keypoints import to_coco_18
from leffa.data.labels import CATEGORIES, Category
from leffa.synthetic.annotations import agnostic_mask, body_map, find_keypoints
from leffa.synthetic.body import CHIN, CROWN, Pose, draw_pose, draw_shape
from leffa.synthetic.figure import Placement, build_figure
from leffa.synthetic.flatlay import FlatLay, lay_flat
from leffa.synthetic.flows import flow_between, flow_to_flat
from leffa.synthetic.garments import Garment, Kind, draw_garment
from leffa.synthetic.labels import ATR_OF_CIHP
from leffa.synthetic.looks import draw_look
from leffa.synthetic.raster import Floats, Mask, Pixels
from leffa.synthetic.scene import Person, Scene

GREY = 128
VERSION = 2  # of the images: raised whenever the same (seed, index) would look different


@dataclass(frozen=True)
class PersonDrawing:
    """An image of a person and its labels; left and right are the person's."""

    image: Pixels  # (H, W, 3) RGB
    iuv: Pixels  # (H, W, 3) DensePose part 0..24, U, V of the body under the clothes
    parsing: Pixels  # (H, W) CIHP-20 labels
    keypoints: Floats  # (25, 3) BODY_25 x, y in pixels, confidence; 0, 0, 0 outside the image

    @property
    def parsing_atr(self) -> Pixels:
        """(H, W) the parsing in the ATR-18 labels of DressCode."""
        return ATR_OF_CIHP[self.parsing]

    @property
    def keypoints_coco18(self) -> Floats:
        """(18, 3) the keypoints in COCO-18 order."""
        return to_coco_18(self.keypoints)


@dataclass(frozen=True)
class TryOnDrawing:
    """A person, one garment of theirs laid flat, and where the one is seen in the other."""

    person: PersonDrawing
    garment: Pixels  # (H, W, 3) RGB, on white
    garment_mask: Mask  # (H, W)
    agnostic_mask: Mask  # (H, W) True = generate
    flow: Floats  # (H, W, 2) person -> garment image, see `flows`; 0 off the garment
    flow_valid: Mask  # (H, W) both images show the garment there, and nothing else
    category: Category

    @property
    def agnostic(self) -> Pixels:
        """(H, W, 3) the person with grey where the mask is."""
        return np.where(self.agnostic_mask[..., None], np.uint8(GREY), self.person.image)


@dataclass(frozen=True)
class PoseSet:
    """One person in one outfit before one backdrop, in several poses."""

    drawings: tuple[PersonDrawing, ...]
    _scenes: tuple[Scene, ...] = field(repr=False)

    def flow(
        self, source: int, reference: int, appearance: "PoseSet | None" = None
    ) -> tuple[Floats, Mask]:
        """The ground-truth flow from one image to another, see `flows.flow_between`; the reference
        is one of `appearance` where this set was rendered with that person's."""
        there = appearance or self
        return flow_between(self._scenes[source], there._scenes[reference])


def draw_tryon(
    seed: int,
    index: int,
    height: int,
    width: int,
    category: Category = "upper_body",
    garment_of: int | None = None,
) -> TryOnDrawing:
    """Render a person who wears a garment, and the garment laid flat.

    Args:
        garment_of: the index of another sample, whose garment this person wears in place of the
            own one. All else stays as it is: the true image of an unpaired try-on.

    Raises:
        ValueError: the category is unknown.
    """
    if category not in CATEGORIES:
        raise ValueError(f"unknown category {category!r}; choose one of {', '.join(CATEGORIES)}")
    size = (height, width)
    rng, place, outfit, worn = _dress(seed, index, category, size)
    if garment_of is not None:
        _, _, others, other = _dress(seed, garment_of, category, size)
        outfit[worn] = others[other]
    # Nothing random below depends on the garments: the same person is rendered in others.
    person = Person(draw_shape(rng), draw_look(rng), tuple(outfit))
    pose, background = draw_pose(rng), _draw_backdrop(rng, size)
    scene, drawing = _render(person, pose, place, background)
    flat = person.outfit[worn]
    photo, cover = flat.photograph()
    flow, valid = flow_to_flat(scene.painter, flat, cover, worn)
    return TryOnDrawing(
        person=drawing,
        garment=_to_uint8(photo),
        garment_mask=cover >= 0.5,
        agnostic_mask=agnostic_mask(scene, drawing.parsing, category, worn),
        flow=flow,
        flow_valid=valid,
        category=category,
    )


def _dress(
    seed: int, index: int, category: Category, size: tuple[int, int]
) -> tuple[Generator, Placement, list[FlatLay], int]:
    """How a try-on sample begins: the framing, the outfit, and which of it is tried on.

    The generator draws the person next.
    """
    rng = np.random.default_rng([seed, index, CATEGORIES.index(category)])
    place = _draw_framing(rng, category, size)
    garments, worn = _draw_outfit(rng, category)
    return rng, place, _lay_out(garments, place, size), worn


def draw_pose_set(
    seed: int, index: int, height: int, width: int, poses: int, appearance_of: int | None = None
) -> PoseSet:
    """Render one person, from head to foot, in a number of poses.

    Args:
        appearance_of: the index of another person, whose look, outfit and backdrop this one takes.
            Body, poses and framing stay as they are: the true images of unpaired pose transfer,
            since the DensePose that asks for a pose shows the body that it is asked of.
    """
    size = (height, width)
    rng, person, place, background = _appear(seed, index, size)
    if appearance_of is not None:
        _, other, _, background = _appear(seed, appearance_of, size)
        person = replace(other, shape=person.shape)
    rendered = []
    for _ in range(poses):
        rendered.append(_render(person, draw_pose(rng), place, background))
        place = _draw_framing(rng, "dresses", size)
    scenes, drawings = zip(*rendered, strict=True)
    return PoseSet(drawings, scenes)


def _appear(
    seed: int, index: int, size: tuple[int, int]
) -> tuple[Generator, Person, Placement, Floats]:
    """How a pose set begins: the person, the first framing and the backdrop.

    The generator draws the poses next.
    """
    rng = np.random.default_rng([seed, index, len(CATEGORIES)])
    garments, _ = _draw_outfit(rng, CATEGORIES[rng.choice(3, p=[0.45, 0.25, 0.3])], plain=False)
    place = _draw_framing(rng, "dresses", size)
    outfit = tuple(_lay_out(garments, place, size))
    person = Person(draw_shape(rng), draw_look(rng), outfit)
    return rng, person, place, _draw_backdrop(rng, size)


def _draw_backdrop(rng: Generator, size: tuple[int, int]) -> Floats:
    """A random backdrop, (H, W, 3) in [0, 1], mostly light as in a studio."""
    light = rng.uniform(0.8, 0.97) if rng.random() < 0.7 else rng.uniform(0.35, 0.75)
    base = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.0, 0.22), light))
    match rng.choice(["plain", "gradient", "soft"], p=[0.3, 0.4, 0.3]):
        case "plain":
            grid = np.broadcast_to(base, (2, 2, 3))
        case "gradient":
            grid = np.stack([[base, base], [base * rng.uniform(0.8, 0.93)] * 2])
        case _:
            clouds = rng.normal(0, 0.05, size=(5, 4, 1)) + rng.normal(0, 0.02, size=(5, 4, 3))
            grid = base * (1 + clouds)
    coarse = [Image.fromarray(channel) for channel in np.moveaxis(grid, -1, 0).astype(np.float32)]
    fine = [each.resize(size[::-1], Image.Resampling.BICUBIC) for each in coarse]
    return np.stack([np.asarray(each) for each in fine], axis=-1).clip(0, 1).astype(np.float32)


def _draw_framing(rng: Generator, category: Category, size: tuple[int, int]) -> Placement:
    """Head to thigh for tops, mouth to feet for lower garments (as DressCode), or all."""
    aside = rng.uniform(-0.12, 0.12)  # heads to the right of the middle
    match category:  # height of the image, and room above the crown, in heads
        case "upper_body":
            heads, top = rng.uniform(4.3, 4.9), rng.uniform(0.1, 0.3)
        case "lower_body":
            heads = rng.uniform(7.3, 7.9)
            top = heads - rng.uniform(8.25, 8.4)
        case "dresses":
            heads, top = rng.uniform(8.5, 8.9), rng.uniform(0.15, 0.35)
    height, width = size
    scale = height / heads
    return Placement((width - 1) / 2 + aside * scale, (top + (CHIN + CROWN)) * scale, scale)


def _draw_outfit(
    rng: Generator, category: Category, plain: bool = True
) -> tuple[list[Garment], int]:
    """Garments from the skin outwards, and which of them to try on; `plain` keeps others quiet."""
    if category == "dresses":
        return [draw_garment(rng, "dress")], 0
    kinds: list[Kind] = ["trousers", "shorts", "skirt"]
    top = draw_garment(rng, "top", plain=plain and category != "upper_body")
    kind = kinds[rng.choice(3, p=[0.5, 0.2, 0.3])]
    bottom = draw_garment(rng, kind, plain=plain and category != "lower_body")
    tucked = bool(rng.random() < (0.3 if category == "upper_body" else 0.6))
    outfit = [top, bottom] if tucked else [bottom, top]
    return outfit, int(tucked == (category == "lower_body"))


def _lay_out(garments: list[Garment], place: Placement, size: tuple[int, int]) -> list[FlatLay]:
    """Each of these garments laid flat."""
    return [lay_flat(garment, size, place.scale) for garment in garments]


def _render(
    person: Person, pose: Pose, place: Placement, background: Floats
) -> tuple[Scene, PersonDrawing]:
    """Paint a person in a pose, and read the labels off."""
    scene = Scene(person, build_figure(person.shape, pose, place), background.copy())
    scene.paint()
    drawing = PersonDrawing(
        image=_to_uint8(scene.painter.image),
        iuv=body_map(scene),
        parsing=scene.painter.parsing(),
        keypoints=find_keypoints(scene),
    )
    return scene, drawing


def _to_uint8(picture: Floats) -> Pixels:
    return np.round(picture.clip(0, 1) * 255).astype(np.uint8)
