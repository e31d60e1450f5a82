"""The maps of photographs, made with the published parsers, OpenPose and DensePose."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from leffa.data.batch import Record
from leffa.data.densepose import ENCODINGS
from leffa.data.doctor.quick import check_mask
from leffa.data.labels import GARMENT_LABELS
from leffa.io.atomic import replacing
from leffa.io.pictures import open_photograph
from leffa.photo_to_picture.networks import PublishedNetworks, PublishedTools
from leffa.photo_to_picture.request import Weights
from leffa.preprocess.photo import Tools, prepare_photo

PUBLISHED = {
    "parse": ("schp_atr", "schp_lip"),
    "keypoints": ("openpose",),
    "densepose": ("densepose",),
}
OF_FILES = "leffa_hd_clean"  # the recipe for models that were trained on mask files

_SMALLEST = 192  # pixels of a photo's shorter side: a quarter of the width of an image
_LEAST_GARMENT = 0.01  # of the photo of somebody who wears it
_MARGIN = 0.05  # around a garment that is cut out


def lacking(record: Record, weights: Weights, worn: bool = False) -> set[str]:
    """The kinds of maps that must be made of a pair's photos: keys of `PUBLISHED`."""
    wanted, reads = set(), weights.inputs.densepose
    if weights.inputs.task == "tryon" and record.mask is None:
        wanted |= {"parse", "keypoints"}
        if weights.inputs.recipe == "catvton":
            wanted.add("densepose")
    if reads == "skeleton" or "pose" in weights.reads:
        wanted.add("keypoints")
    if "densepose" in weights.reads and reads in ENCODINGS:
        wanted.add("densepose")
    made = {kind for kind in wanted if getattr(record, kind) is None}
    return made | {"parse"} if worn else made


def check_pair(record: Record) -> None:
    """Raise ValueError or FileNotFoundError where a photo or mask is not an image, or too small."""
    for photo in (record.source, record.reference):
        with _named(photo):
            width, height = open_photograph(photo).size
            if min(width, height) < _SMALLEST:
                raise ValueError(
                    f"is {width}x{height}, too small; give at least {_SMALLEST} pixels"
                )
    if record.mask is not None:
        check_mask(record.mask)


def check_packages(kinds: set[str]) -> None:
    """Raise ValueError where a package is missing, before anything is fetched."""
    if "parse" in kinds and find_spec("onnxruntime") is None:
        raise ValueError(
            "parsing a photo needs the package onnxruntime: pip install -e '.[onnx]'; with --mask "
            "no photo is parsed"
        )


class MapMaker:
    """Makes what pairs lack; networks are loaded when the first photo needs them.

    Args:
        out: the folder whose `maps/` is filled. What is there already is used.
        device: "cpu" or "cuda".
        worn: whether garments are to be cut out of photos.
    """

    def __init__(self, out: Path, device: str, worn: bool = False) -> None:
        self.folder, self.worn = out / "maps", worn
        self.networks = PublishedNetworks(device)
        self.roots: set[Path] = set()  # of the photos that were asked for

    def complete(self, record: Record, weights: Weights) -> Record:
        """The pair with all maps that its weights read.

        Raises:
            FileNotFoundError, ValueError: a photo cannot be used, in one line that names it.
        """
        if self.worn:
            with _named(record.reference):
                record = replace(record, reference=self._cut_out(record))
        recipe = None
        if weights.inputs.task == "tryon" and record.mask is None:
            recipe = weights.inputs.recipe or OF_FILES
        encoding = weights.inputs.densepose if weights.inputs.densepose in ENCODINGS else None
        root = self._root(record.source, [record.category, recipe, encoding], _given(record))
        made = {
            kind: root / kind / f"{record.source.stem}.png" for kind in lacking(record, weights)
        }
        if "keypoints" in made:
            made["keypoints"] = made["keypoints"].with_suffix(".json")
        todo = {kind for kind, path in made.items() if not path.is_file()}
        with _named(record.source):
            published = PublishedTools(self.networks, record.category)
            tools = Tools(
                parser=published.parser if "parse" in todo else None,
                pose=published.pose if "keypoints" in todo else None,
                densepose=published.densepose if "densepose" in todo else None,
                label_set="atr" if recipe else None,
                encoding=encoding,
                recipe=recipe,
                category=record.category,
            )
            prepare_photo(record.source, root, tools)
        if recipe is not None:
            made["mask"] = root / "masks" / f"{record.source.stem}.png"
        return replace(record, **made)  # type: ignore[arg-type]

    def _root(self, photo: Path, settings: Sequence[Any], given: Mapping[str, Path]) -> Path:
        """The folder of a photo's maps, which no other photo or settings share; maps that were
        given are copied there, where they are used."""
        digest = hashlib.sha256(photo.read_bytes() + repr(settings).encode())
        for file in given.values():
            digest.update(file.read_bytes())
        root = self.folder / f"{photo.stem}-{digest.hexdigest()[:8]}"
        self.roots.add(root)
        for kind, file in given.items():
            place = root / kind / f"{photo.stem}{file.suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing(place) as unfinished:
                shutil.copyfile(file, unfinished)
        return root

    def _cut_out(self, record: Record) -> Path:
        """The garment alone, on white, cut out of a photo of someone wearing it."""
        photo = record.reference
        place = self._root(photo, ["worn", record.category], {}) / "garment.png"
        if place.is_file():
            return place
        image, labels = open_photograph(photo), GARMENT_LABELS["atr"].get(record.category, ())
        shown = np.isin(self.networks.parser.parse(image), labels)
        if shown.mean() < _LEAST_GARMENT:
            raise ValueError(f"shows nobody wearing a garment of --category {record.category}")
        mask = Image.fromarray(shown).convert("L")
        alone = Image.composite(image, Image.new("RGB", image.size, "white"), mask)
        cropped = alone.crop(mask.getbbox())
        garment = ImageOps.expand(cropped, round(_MARGIN * max(cropped.size)), "white")
        with replacing(place) as unfinished:
            garment.save(unfinished, "PNG")
        return place


def remove_all_but_masks(roots: Iterable[Path]) -> None:
    """Delete the parsing, keypoints and DensePose in the folders of these photos' maps."""
    for root in roots:
        for kind in PUBLISHED:
            shutil.rmtree(root / kind, ignore_errors=True)


def _given(record: Record) -> dict[str, Path]:
    files = {kind: getattr(record, kind) for kind in PUBLISHED}
    return {kind: file for kind, file in files.items() if isinstance(file, Path)}


@contextmanager
def _named(photo: Path) -> Iterator[None]:
    """Errors name the photo."""
    try:
        yield
    except ValueError as error:
        if str(photo) in str(error):
            raise
        raise ValueError(f"{photo}: {error}") from error
