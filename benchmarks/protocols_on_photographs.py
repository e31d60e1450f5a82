"""How far protocols alone move the numbers: the same small damages, scored under every protocol.

    python benchmarks/protocols_on_photographs.py PERSONS OTHER_PERSONS [--masks PARSING_MAPS]

The "predictions" are the photographs themselves, shifted by one pixel, blurred, stored as JPEG of
quality 75, or replaced by other persons. Every number compares the same pictures, so a difference
within a column is the protocol's doing. Pictures, features and values stay in the cache folder: an
interrupted run goes on where it stopped. No photograph is written anywhere else.

A photograph that is a JPEG of quality 75 itself hardly changes when it is stored so once more: each
block finds its own rounding again. Hence a second JPEG column, with the blocks four pixels off.
"""

import argparse
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageChops, ImageFilter
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from leffa.io.atomic import replacing, write_json, write_text
from leffa.metrics.distribution import FID, KID
from leffa.metrics.features import KINDS, FeatureName, InceptionFeatures
from leffa.metrics.folders import ImageFile, read_folder
from leffa.metrics.loading import read_batches
from leffa.metrics.plan import Picture
from leffa.metrics.protocols import PROTOCOLS, KIDSettings, PairedSettings, Protocol
from leffa.metrics.result import finite, library_versions
from leffa.metrics.score import score_folders
from leffa.metrics.weights import MissingWeights

RESULTS = Path(__file__).parent / "results"
CHUNK = 64  # images whose features are stored together


def jpeg(image: Image.Image) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=75)
    return Image.open(stored).convert("RGB")


def jpeg_off_grid(image: Image.Image) -> Image.Image:
    return ImageChops.offset(jpeg(ImageChops.offset(image, 4, 4)), -4, -4)


DAMAGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "shifted": lambda image: ImageChops.offset(image, 1, 0),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "jpeg": jpeg,
    "jpeg_off_grid": jpeg_off_grid,
    "others": lambda image: image,
}
TITLES = {
    "shifted": "shifted by one pixel",
    "blurred": "blurred, sigma 1",
    "jpeg": "JPEG 75",
    "jpeg_off_grid": "JPEG 75, blocks 4 pixels off",
    "others": "other persons",
}
# Pose transfer code wants predictions of a size of its own: (width, height).
STORED = {"cfld_256": (176, 256), "cfld_512": (512, 512), "pidm": (256, 256)}
AS_STORED = "as_stored"  # the other protocols: at equal sizes they all leave the pictures alone


class Pictures:
    """The photographs, and their damaged copies as PNG, each made once.

    Args:
        persons, others: folders of photographs; as many of `others` are taken as there are persons.
        limit: only the first of each.
        cache: where the copies and all values are kept.
    """

    def __init__(self, persons: Path, others: Path, limit: int | None, cache: Path) -> None:
        self.folder = persons
        self.true = _first(persons, limit)
        self.others = _first(others, len(self.true))
        if len(self.true) < 4 or len(self.others) < len(self.true):
            raise SystemExit(
                f"error: {len(self.true)} photographs in {persons} and {len(self.others)} in "
                f"{others}: needs at least four, and as many of other persons"
            )
        self.cache = cache / str(len(self.true))

    def sources(self, damage: str) -> list[ImageFile]:
        return self.others if damage == "others" else self.true

    def damaged(self, damage: str, protocol: str = AS_STORED) -> Path:
        """The folder of damaged photographs, of a protocol's size."""
        folder = self.cache / "pictures" / damage / protocol
        folder.mkdir(parents=True, exist_ok=True)
        for source in track(self.sources(damage), f"{damage} {protocol}"):
            file = folder / f"{source.name}.png"
            if file.is_file():
                continue
            with Image.open(source.path) as opened:
                image = DAMAGES[damage](opened.convert("RGB"))
            if protocol in STORED:
                image = image.resize(STORED[protocol], Image.Resampling.BICUBIC)
            with replacing(file) as temporary:
                image.save(temporary, "PNG", compress_level=1)
        return folder

    def equal(self, damage: str) -> int:
        """How many photographs the damage leaves as they are, bit by bit."""
        return sum(_pixels(s) == _pixels(d) for s, d in self._both(damage))

    def _both(self, damage: str) -> list[tuple[Path, Path]]:
        folder = self.damaged(damage)
        pairs = zip(self.true, self.sources(damage), strict=True)
        return [(true.path, folder / f"{source.name}.png") for true, source in pairs]


def _first(folder: Path, limit: int | None) -> list[ImageFile]:
    return sorted(read_folder(folder).images.values(), key=lambda image: image.name)[:limit]


def _pixels(file: Path) -> bytes:
    with Image.open(file) as image:
        return image.convert("RGB").tobytes()


def features(
    images: Sequence[ImageFile], kind: FeatureName, folder: Path, workers: int, title: str
) -> Tensor:
    """(N, 2048) of images, computed chunk by chunk and kept in a folder."""
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    network, parts = None, []
    folder.mkdir(parents=True, exist_ok=True)
    for number, chunk in enumerate(track(chunks, f"{kind} {title}")):
        file = folder / f"{number}.safetensors"
        if not file.is_file():
            network = network or InceptionFeatures(kind=kind)
            groups = [(Picture(image),) for image in chunk]
            found = [network(views[0]) for _, (views,) in read_batches(groups, workers=workers)]
            with replacing(file) as temporary:
                save_file({"features": torch.cat(found)}, temporary)
        parts.append(load_file(file)["features"])
    return torch.cat(parts)


def all_features(pictures: Pictures, workers: int) -> dict[str, dict[FeatureName, Tensor]]:
    """Damage, or "true" -> network -> (N, 2048), of the networks that are on this machine."""
    found: dict[str, dict[FeatureName, Tensor]] = {name: {} for name in ("true", *DAMAGES)}
    for kind in KINDS:
        try:
            for name, known in found.items():
                images = pictures.true if name == "true" else _first(pictures.damaged(name), None)
                kept = pictures.cache / "features" / name / kind
                known[kind] = features(images, kind, kept, workers, name)
        except MissingWeights as error:
            print(error)
    return found


def set_values(
    protocol: Protocol,
    pred: dict[FeatureName, Tensor],
    real: dict[FeatureName, Tensor],
    known: dict[Any, float],
) -> dict[str, float]:
    """FID and KID of a protocol, of the features that there are; `known` keeps what is shared."""
    values = {}
    for name, settings in protocol.sets.items():
        if settings.features not in real:
            continue
        factor = settings.factor if isinstance(settings, KIDSettings) else 1.0
        key = settings.metric, settings.features
        if key not in known:
            metric = FID() if settings.metric == "fid" else KID()
            metric.update(pred[settings.features], real=False)
            metric.update(real[settings.features], real=True)
            value = metric.compute()
            known[key] = (value[0] if isinstance(value, tuple) else value).item()
        values[name] = known[key] * factor
    return values


def joined(protocols: Sequence[Protocol], masks: Path | None) -> tuple[Protocol, dict[Any, str]]:
    """One protocol with all per-image metrics of several, equal ones once; and their names in it.

    The names: (protocol, value) -> value of the joined one.
    """
    keys: dict[PairedSettings, str] = {}
    names = {}
    for protocol in protocols:
        for name, settings in protocol.paired.items():
            if settings.metric != "masked_psnr" or masks is not None:
                names[protocol.name, name] = keys.setdefault(settings, f"{protocol.name}.{name}")
    first = protocols[0]
    one = len(protocols) == 1
    return Protocol(
        name=f"joined_{first.name}",
        version=1,
        description="the per-image metrics of several protocols",
        paired={key: settings for settings, key in keys.items()},
        prepare_pred=first.prepare_pred if one else None,
        prepare_true=first.prepare_true if one else None,
        drop_last=first.drop_last if one else None,
    ), names


def paired_values(
    protocols: Sequence[Protocol], pictures: Pictures, damage: str, masks: Path | None, workers: int
) -> dict[Any, float]:
    """(protocol, value's name) -> value of the per-image metrics of protocols; kept."""
    size = protocols[0].name if protocols[0].name in STORED else AS_STORED
    kept = pictures.cache / "paired" / f"{size}_{damage}.json"
    protocol, names = joined(protocols, masks)
    if not kept.is_file():
        pairs = zip(pictures.sources(damage), pictures.true, strict=True)
        metrics = {settings.metric for settings in protocol.paired.values()}
        scores = score_folders(
            pictures.damaged(damage, size),
            pictures.folder,
            protocol,
            names={source.name: true.name for source, true in pairs},
            beside={"masks": masks} if "masked_psnr" in metrics else None,
            workers=workers,
            progress=True,
        )
        kept.parent.mkdir(exist_ok=True)
        write_json(kept, scores.values)
    values = json.loads(kept.read_text())
    return {name: values[key] for name, key in names.items() if key in values}


def measure(
    pictures: Pictures, masks: Path | None, workers: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Protocol -> damage -> value's name -> value."""
    plain = [protocol for name, protocol in PROTOCOLS.items() if name not in STORED]
    groups = [plain, *([PROTOCOLS[name]] for name in STORED)]
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in sorted(PROTOCOLS)}
    paired: dict[str, dict[Any, float]] = {damage: {} for damage in DAMAGES}
    for damage, values in paired.items():
        for group in groups:
            values |= paired_values(group, pictures, damage, masks, workers)
    found = all_features(pictures, workers)
    for damage, values in paired.items():
        known: dict[Any, float] = {}
        for name, protocol in sorted(PROTOCOLS.items()):
            sets = set_values(protocol, found[damage], found["true"], known)
            own = {key: values[name, key] for key in protocol.paired if (name, key) in values}
            table[name][damage] = own | sets
    return table


def markdown(table: dict[str, dict[str, dict[str, float]]], count: int, equal: int) -> str:
    """One line per protocol and value."""
    lines = [
        f"{count:,} photographs against themselves, damaged, and against {count:,} of other "
        f"persons. Sets of this size bias FID upward. {equal:,} photographs come out of JPEG 75 "
        "as they went in: an infinite PSNR, and so is a mean that holds one.",
        "",
        "| protocol | value | " + " | ".join(TITLES.values()) + " |",
        "| --- | --- | " + " | ".join("---:" for _ in TITLES) + " |",
    ]
    for name, columns in table.items():
        for key in next(iter(columns.values())):
            cells = " | ".join(f"{columns[damage][key]:.4f}" for damage in TITLES)
            lines.append(f"| {name} | {key} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("persons", type=Path, help="a folder of persons, all of one size")
    parser.add_argument("others", type=Path, help="a folder of other persons, of the same size")
    parser.add_argument("--masks", type=Path, help="parsing maps of the persons, for wpose")
    parser.add_argument("--limit", type=int, help="only the first N")
    parser.add_argument("--cache", type=Path, default=Path("outputs/protocols_on_photographs"))
    parser.add_argument("--workers", type=int, default=0, help="processes that open files")
    chosen = parser.parse_args()
    pictures = Pictures(chosen.persons, chosen.others, chosen.limit, chosen.cache)
    table = measure(pictures, chosen.masks, chosen.workers)
    count, equal = len(pictures.true), pictures.equal("jpeg")
    result = {
        "photographs": count,
        "unchanged_by_jpeg": equal,
        "versions": library_versions(),
        "table": {
            protocol: {damage: finite(values) for damage, values in columns.items()}
            for protocol, columns in table.items()
        },
    }
    RESULTS.mkdir(exist_ok=True)
    text = markdown(table, count, equal)
    write_json(RESULTS / "protocols_on_photographs.json", result)
    write_text(RESULTS / "protocols_on_photographs.md", text)
    print(text)


if __name__ == "__main__":
    main()
