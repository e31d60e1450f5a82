"""How far protocols alone move the numbers: the same small damages, scored under every protocol.

    python benchmarks/protocols_on_photographs.py FOLDER_OF_PERSONS [--limit 300]

The "predictions" are the photographs themselves, shifted by one pixel, blurred, stored as JPEG of
quality 75, or replaced by other persons. Every number compares the same pictures, so a difference
within a column is the protocol's doing. Pictures, features and values stay in the cache folder: an
interrupted run goes on where it stopped. No photograph is written anywhere else.
"""

import argparse
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageChops, ImageFilter
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from leffa.metrics.distribution import FID, KID
from leffa.metrics.features import KINDS, FeatureName, InceptionFeatures
from leffa.metrics.folders import read_folder
from leffa.metrics.loading import ImageReader
from leffa.metrics.plan import Picture
from leffa.metrics.protocols import PROTOCOLS, KIDSettings, Protocol
from leffa.metrics.result import library_versions, write_whole
from leffa.metrics.score import score_folders
from leffa.metrics.weights import MissingWeights

RESULTS = Path(__file__).parent / "results"
CHUNK = 64  # images whose features are stored together


def jpeg(image: Image.Image) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=75)
    return Image.open(stored).convert("RGB")


DAMAGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "shifted": lambda image: ImageChops.offset(image, 1, 0),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "jpeg": jpeg,
}
TITLES = {
    "shifted": "shifted by one pixel",
    "blurred": "blurred, sigma 1",
    "jpeg": "JPEG 75",
    "others": "other persons",
}
# Pose transfer code wants predictions of a size of its own: (width, height).
STORED = {"cfld_256": (176, 256), "cfld_512": (512, 512), "pidm": (256, 256)}


def variant(photographs: Sequence[Path], cache: Path, damage: str, protocol: str = "") -> Path:
    """The folder of damaged photographs as PNG, of a protocol's size; made once."""
    folder = cache / f"{damage}_{protocol}"
    folder.mkdir(parents=True, exist_ok=True)
    for source in photographs:
        file = folder / f"{source.stem}.png"
        if file.is_file():
            continue
        with Image.open(source) as opened:
            image = DAMAGES.get(damage, lambda same: same)(opened.convert("RGB"))
        if protocol:
            image = image.resize(STORED[protocol], Image.Resampling.BICUBIC)
        partial = file.with_suffix(".partial")
        image.save(partial, "PNG")
        partial.replace(file)
    return folder


def features(folder: Path, kind: FeatureName, cache: Path, workers: int) -> Tensor:
    """(N, 2048) of a folder's images by name, computed chunk by chunk and kept."""
    images = sorted(read_folder(folder).images.values(), key=lambda image: image.name)
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    network, parts = None, []
    for number, chunk in enumerate(track(chunks, f"{kind}, {folder.name}")):
        file = cache / "features" / f"{folder.name}{kind}_{number}.safetensors"
        if not file.is_file():
            network = network or InceptionFeatures(kind=kind)
            groups = [(Picture(image),) for image in chunk]
            found = [network(views[0]) for _, (views,) in ImageReader(8, workers)(groups, "")]
            file.parent.mkdir(exist_ok=True)
            save_file({"features": torch.cat(found)}, file.with_suffix(".partial"))
            file.with_suffix(".partial").replace(file)
        parts.append(load_file(file)["features"])
    return torch.cat(parts)


def set_values(
    protocol: Protocol, pred: dict[str, Tensor], real: dict[str, Tensor], known: dict[Any, float]
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


def paired_values(
    protocol: Protocol, damage: str, photographs: list[Path], cache: Path, workers: int
) -> dict[str, float]:
    """Per-image metrics of a protocol; kept."""
    file = cache / "paired" / f"{protocol.name}_v{protocol.version}_{damage}.json"
    if file.is_file():
        return json.loads(file.read_text())
    paired = {key: each for key, each in protocol.paired.items() if each.metric != "masked_psnr"}
    alone = replace(protocol, paired=paired, sets={})
    own_size = protocol.name if protocol.name in STORED else ""
    half = len(photographs) // 2
    chosen = photographs[half : 2 * half] if damage == "others" else photographs
    pred = variant(chosen, cache, damage, own_size)
    true = variant(photographs, cache, "true")
    names = {p.stem: t.stem for p, t in zip(chosen, photographs, strict=False)}
    scores = score_folders(pred, true, alone, names=names, workers=workers, progress=True)
    file.parent.mkdir(exist_ok=True)
    write_whole(file, json.dumps(scores.values))
    return scores.values


def measure(photographs: list[Path], cache: Path, workers: int) -> dict[str, dict[str, dict]]:
    """Protocol -> damage -> value's name -> value."""
    half = len(photographs) // 2
    found: dict[str, dict[str, Tensor]] = {"true": {}} | {damage: {} for damage in DAMAGES}
    for kind in KINDS:
        try:
            for damage in found:
                folder = variant(photographs, cache, damage)
                found[damage][kind] = features(folder, kind, cache, workers)
        except MissingWeights as error:
            print(error)
    whole = found["true"]
    first, second = ({k: x[part] for k, x in whole.items()} for part in halves(half))
    table: dict[str, dict[str, dict]] = {}
    known: dict[str, dict[Any, float]] = {damage: {} for damage in TITLES}
    for name, protocol in sorted(PROTOCOLS.items()):
        table[name] = {}
        for damage in TITLES:
            sets = (second, first) if damage == "others" else (found[damage], whole)
            values = paired_values(protocol, damage, photographs, cache, workers)
            table[name][damage] = values | set_values(protocol, *sets, known[damage])
    return table


def halves(half: int) -> tuple[slice, slice]:
    return slice(0, half), slice(half, 2 * half)


def markdown(table: dict[str, dict[str, dict]], count: int) -> str:
    """One line per protocol and value."""
    lines = [
        f"{count:,} photographs against themselves, damaged; {count // 2:,} against {count // 2:,} "
        "for other persons. Sets this small bias FID upward.",
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
    parser.add_argument("photographs", type=Path, help="a folder of persons, all of one size")
    parser.add_argument("--limit", type=int, help="only the first N")
    parser.add_argument("--cache", type=Path, default=Path("outputs/protocols_on_photographs"))
    parser.add_argument("--workers", type=int, default=0, help="processes that open files")
    arguments = parser.parse_args()
    found = read_folder(arguments.photographs).images.values()
    photographs = sorted(image.path for image in found)[: arguments.limit]
    if len(photographs) < 4:
        raise SystemExit(f"error: {arguments.photographs}: needs at least four photographs")
    table = measure(photographs, arguments.cache / str(len(photographs)), arguments.workers)
    RESULTS.mkdir(exist_ok=True)
    result = {"photographs": len(photographs), "versions": library_versions(), "table": table}
    text = markdown(table, len(photographs))
    write_whole(RESULTS / "protocols_on_photographs.json", json.dumps(result, indent=2) + "\n")
    write_whole(RESULTS / "protocols_on_photographs.md", text)
    print(text)


if __name__ == "__main__":
    main()
