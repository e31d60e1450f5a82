"""How fast samples are made, against bare decoding and resizing of the same files.

    python benchmarks/loader.py                       a synthetic data set in VITON-HD's layout
    python benchmarks/loader.py --root DIR            your own VITON-HD

Processor time, turn about in one run: the files of a sample opened and resized with PIL and nothing
else; the samples of `PersonDataset` as a loader makes them; and batches as a worker hands them to
another process, the time of both. Then a training step of the tiny model with and without cached
latents (`data.latent_cache`). Decoding is all the arithmetic that loading has to do: ratios compare
with it, and 1 is its time.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from arithmetic import flop_counter
from machine import describe_machine, line, processor_time, time_by_arithmetic, verdict
from PIL import Image
from torch.utils.data import DataLoader

from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset, collate, keep_freed_memory, start_worker
from leffa.data.latent_cache import LatentCache
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.io.atomic import write_json, write_text
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.models.loading import SHIPPED, load_scheduler
from leffa.run import compose
from leffa.synthetic.write import write_viton_hd
from leffa.training.objective import DiffusionObjective

RESULTS = Path(__file__).parent / "results"
SIZES = ((512, 384), (1024, 768))
PASSES = 8  # over the samples in a worker, so that its start hardly counts
GOAL = 0.9  # of bare decoding, for what a loader makes at 1024x768


def bare(record: Record, transform: PersonTransform) -> None:
    """Open and resize each file that a sample needs, with the filter that it needs."""
    photograph, size = Image.Resampling.LANCZOS, transform.size
    assert transform.encoding is not None
    files = ((record.source, photograph), (record.reference, photograph))
    surface = (record.densepose, transform.encoding.resampling)
    for path, resampling in (*files, (record.mask, photograph), surface):
        if path is not None:
            with Image.open(path) as image:
                image.resize(size, resampling)


def seconds(work: Callable[[], object]) -> float:
    begun = processor_time()
    work()
    return processor_time() - begun


def turn_about(works: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median CPU seconds of each, measured alternately so that all meet the same machine."""
    for work in works:
        work()
    turns = [[seconds(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*turns, strict=True)]


def measure_loading(records: VitonHD, height: int, width: int, rounds: int) -> dict[str, float]:
    transform = PersonTransform(height, width, densepose="iuv" if synthetic(records) else "colour")
    dataset = PersonDataset(records, transform, packed=True)

    def deliver() -> None:
        loader = DataLoader(
            dataset,
            batch_size=4,
            sampler=[*range(len(records))] * PASSES,
            num_workers=1,
            collate_fn=collate,
            worker_init_fn=start_worker,
        )
        for _ in loader:
            pass

    plain, made, delivered = turn_about(
        [
            lambda: [bare(record, transform) for record in records],
            lambda: [dataset[index]["name"] for index in range(len(records))],  # none is kept
            deliver,
        ],
        rounds,
    )
    return {"made": plain / made, "delivered": plain / (delivered / PASSES)}


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

        operations = []
        for latents in (None, cache):
            with flop_counter() as counter:
                step(latents)
            operations.append(counter.get_total_flops())
        fresh, cached = turn_about([lambda: step(None), lambda: step(cache)], rounds)
    return {"cached": cached / fresh, "arithmetic": operations[1] / operations[0]}


def as_markdown(machine: dict[str, Any], result: dict[str, dict[str, float]]) -> str:
    """The machine and the table."""
    lines = ["# Loading, as a share of the speed of bare decoding", ""]
    lines += [", ".join(f"{key}: {value}" for key, value in machine.items()), ""]
    header = ["", "ratio", "arithmetic ratio", "ratio by it", "goal"]
    lines += [line(header), "|---" + "|---:" * (len(header) - 1) + "|"]
    for size in SIZES:
        at = f"{size[0]}x{size[1]}"
        for what, ratio in result[at].items():
            goal = verdict(GOAL, ratio >= GOAL) if what == "made" else ""
            share = f"{ratio:.2f}"
            lines.append(line([f"throughput of samples {what}, {at}", share, "1", share, goal]))
    step = result["training_step_96x72"]
    cells = time_by_arithmetic(step["cached"], step["arithmetic"])
    what = "time of a training step with cached latents, 96x72"
    return "\n".join([*lines, line([what, f"{step['cached']:.2f}", *cells])]) + "\n"


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
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe_machine()
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
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "loader.json", {"machine": machine, **result})
    report = as_markdown(machine, result)
    write_text(options.out / "loader.md", report)
    print(report)


if __name__ == "__main__":
    main()
