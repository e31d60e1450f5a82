"""How fast samples are made, against bare decoding and resizing of the same files.

    python benchmarks/loader.py                       a synthetic data set in VITON-HD's layout
    python benchmarks/loader.py --root DIR            your own VITON-HD

One process each, turn about in one run: the files of a sample opened and resized with PIL and
nothing else, and `PersonDataset` with everything that a batch needs. Then a training step of the
tiny model with and without cached latents (`data.latent_cache`).
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset, collate, keep_freed_memory
from leffa.data.latent_cache import LatentCache
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.io.atomic import write_json
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.models.loading import SHIPPED, load_scheduler
from leffa.run import compose
from leffa.synthetic.write import write_viton_hd
from leffa.training.objective import DiffusionObjective

RESULTS = Path(__file__).parent / "results"
SIZES = ((512, 384), (1024, 768))
PICTURES = 2  # photographs in a sample: person and garment


def bare(record: Record, size: tuple[int, int]) -> None:
    """Open and resize each file that a sample needs, with the filter that it needs."""
    photograph, label = Image.Resampling.LANCZOS, Image.Resampling.NEAREST
    files = ((record.source, photograph), (record.reference, photograph))
    for path, resampling in (*files, (record.mask, photograph), (record.densepose, label)):
        if path is not None:
            with Image.open(path) as image:
                image.resize(size, resampling)


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def turn_about(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> list[float]:
    """Median CPU seconds of each, measured alternately so that both meet the same machine."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*pairs, strict=True)]


def measure_loading(records: VitonHD, height: int, width: int, rounds: int) -> dict[str, float]:
    transform = PersonTransform(height, width, densepose="iuv" if synthetic(records) else "colour")
    dataset = PersonDataset(records, transform)
    count = len(records)
    plain, ours = turn_about(
        lambda: [bare(record, (width, height)) for record in records],
        lambda: [dataset[index]["name"] for index in range(count)],  # none is kept, as above
        rounds,
    )
    return {
        "bare_images_per_s": PICTURES * count / plain,
        "loader_images_per_s": PICTURES * count / ours,
        "ratio": plain / ours,
    }


def measure_step(records: VitonHD, rounds: int) -> dict[str, float]:
    """A training step at 96x72 with the Leffa loss, batch 8, latents fresh or cached."""
    backbone = compose("train", []).backbone
    torch.manual_seed(0)
    model = LeffaModel(SHIPPED, SHIPPED, load_scheduler(dict(backbone.scheduler)).config)
    transform = PersonTransform(96, 72, densepose="iuv" if synthetic(records) else "colour")
    objective, loss = DiffusionObjective(), LeffaLoss(weight=1.0, max_timestep=1000)
    indices = [index % len(records) for index in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        cache = LatentCache(Path(folder) / "cache", records, transform, model)

        def step(latents: LatentCache | None) -> None:
            dataset = PersonDataset(records, transform, latents=latents)
            batch = collate([dataset[index] for index in indices])
            objective(model, batch, loss, torch.Generator().manual_seed(0)).loss.backward()
            model.zero_grad()

        fresh, cached = turn_about(lambda: step(None), lambda: step(cache), rounds)
    return {"fresh_s": fresh, "cached_s": cached, "ratio": cached / fresh}


def synthetic(records: VitonHD) -> bool:
    path = records[0].densepose
    return path is not None and path.parent.name == "image-iuv"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="a VITON-HD folder; without it a synthetic one")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the workers of a training do
    with tempfile.TemporaryDirectory() as folder:
        if options.root is None:
            write_viton_hd(Path(folder), options.samples, 2, seed=0, height=1024, width=768)
            shutil.rmtree(Path(folder) / "train" / "flow")  # photographs have none
            records = VitonHD(folder, densepose="iuv")
        else:
            records = VitonHD(options.root, split="test")
        result = {
            **{
                f"{height}x{width}": measure_loading(records, height, width, options.rounds)
                for height, width in SIZES
            },
            "training_step_96x72": measure_step(records, options.rounds),
        }
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "loader.json", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
