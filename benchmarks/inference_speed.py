"""Speed of sampling against a straightforward loop, at the size of Stable Diffusion 1.5.

    python benchmarks/inference_speed.py                    768x576 and 256x192; takes 6 GB
    python benchmarks/inference_speed.py --sizes 256x192    the small one alone
    python benchmarks/inference_speed.py --compile

Both compute the same from the same random weights (`plain_leffa.py` is the other one), in turns
within one process, so that both meet the same load. Both UNets have the same weights, as at the
beginning of a training. A step is one guided prediction; a picture is encoding, steps, decoding.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from arithmetic import flop_counter
from machine import describe_machine, line, time_by_arithmetic
from plain_leffa import PlainLeffa
from torch import Tensor

from leffa.data.batch import Batch
from leffa.io.atomic import write_json, write_text
from leffa.models.leffa import Conditioning, LeffaModel
from leffa.models.memory import RunMemory
from leffa.models.sampler import SamplerSettings, generate, guided_noise, name_noise
from leffa.models.schedulers import make_scheduler
from leffa.training.callbacks.throughput import peak_memory

GUIDANCE, TIMESTEP = 2.5, 500
SIZES = ["768x576", "256x192"]
PICTURE_STEPS = 5
ROUNDS = {"768x576": 2}  # of steps, where it is not 4; the fastest counts

SD15: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 9,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    size: str
    what: str  # "a step", or "a picture of N steps"
    how: str
    seconds: float
    ratio: float  # of the plain loop's seconds
    arithmetic: float  # of its operations (`arithmetic.py`)
    largest_difference: float | None  # to the plain loop, of values with a spread near `spread`
    spread: float | None


def build_model() -> LeffaModel:
    """Stable Diffusion 1.5's shape; both UNets share what they have in common."""
    torch.manual_seed(0)
    model = LeffaModel(SD15, {"_class_name": "AutoencoderKL", **VAE}, SCHEDULER)
    own = model.generative_unet.state_dict()
    reference = model.reference_unet.state_dict()
    shared = {key: own[key] for key in reference if key != "conv_in.weight"}
    model.reference_unet.load_state_dict(reference | shared, assign=True)
    return model.eval().requires_grad_(False)


def noise_batch(height: int, width: int) -> Batch:
    """A picture of noise with a mask of its middle."""
    generator = torch.Generator().manual_seed(1)
    source, reference, densepose = torch.rand(3, 1, 3, height, width, generator=generator) * 2 - 1
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 4 : -height // 4, width // 4 : -width // 4] = 1
    pictures = {"source": source, "reference": reference, "densepose": densepose}
    return Batch(**pictures, mask=mask, loss_region=mask, name=["noise"], category=[""])


class Sides:
    """What is measured at one size: for each way, a function that computes the same."""

    def __init__(self, model: LeffaModel, size: str) -> None:
        height, width = (int(side) for side in size.split("x"))
        self.model, self.plain = model, PlainLeffa(model)
        self.batch = noise_batch(height, width)
        self.conditioning = model.encode(self.batch)
        self.noise = name_noise(["noise"], model.latent_shape(self.batch), 0, torch.device("cpu"))
        self.timestep = torch.tensor(TIMESTEP)
        self.settings = SamplerSettings(scheduler="ddim", steps=PICTURE_STEPS, guidance=GUIDANCE)
        self.set_memory = RunMemory()

    def steps(self) -> dict[str, Callable[[], Tensor]]:
        """One guided prediction each."""
        set_wide = self.model.attach_cache(self.conditioning, self.set_memory)
        frozen = self.model.freeze_reference(set_wide, TIMESTEP)
        self.ours(set_wide)  # an earlier picture, and an earlier step
        self.ours(frozen)
        return {
            "plain": lambda: self.plain.guided_noise(
                self.noise,
                self.timestep,
                self.conditioning.concat,
                self.conditioning.reference,
                GUIDANCE,
            ),
            "first picture": lambda: self.ours(self.conditioning),
            "a later picture": lambda: self.ours(set_wide),
            "reference cache": lambda: self.ours(frozen),
        }

    def ours(self, conditioning: Conditioning) -> Tensor:
        return guided_noise(self.model, self.noise, self.timestep, conditioning, self.settings)

    def pictures(self) -> dict[str, Callable[[], Tensor]]:
        """One picture each."""
        generate(self.model, self.batch, self.settings, memory=self.set_memory)
        cached = SamplerSettings(**{**asdict(self.settings), "reference_cache": True})
        return {
            "plain": lambda: self.plain_picture(cached=False),
            "first picture": lambda: generate(self.model, self.batch, self.settings),
            "a later picture": lambda: generate(
                self.model, self.batch, self.settings, memory=self.set_memory
            ),
            "plain, reference once": lambda: self.plain_picture(cached=True),
            "reference cache": lambda: generate(self.model, self.batch, cached),
        }

    @torch.no_grad()
    def plain_picture(self, cached: bool) -> Tensor:
        conditioning = self.model.encode(self.batch)
        concat, reference = conditioning.concat, conditioning.reference
        scheduler = make_scheduler("ddim", self.model.scheduler_config)
        scheduler.set_timesteps(self.settings.steps)
        latents = name_noise(
            ["noise"], tuple(self.noise.shape[1:]), self.settings.seed, self.noise.device
        )
        if cached:
            self.plain.record(reference, scheduler.timesteps[len(scheduler.timesteps) // 2])
        for timestep in scheduler.timesteps:
            if not cached:
                self.plain.record(reference, timestep)
            noise = self.plain.guided_noise_of_record(latents, timestep, concat, GUIDANCE)
            latents = scheduler.step(noise, timestep, latents).prev_sample
        return self.model.decode(latents).clamp(-1, 1)


class Turn(NamedTuple):
    """The fastest turn of a way."""

    seconds: float  # of the processor
    result: Tensor
    operations: int


def measure(ways: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, Turn]:
    """The fastest of `rounds` turns of each way: the one that other programs disturbed least."""
    found: dict[str, Turn] = {}
    for number in range(rounds):
        for way, compute in ways.items():
            with flop_counter() as counter:
                start = time.process_time()
                result = compute()
                seconds = time.process_time() - start
            print(f"  round {number + 1}, {way}: {seconds:.2f} s", flush=True)
            if way not in found or seconds < found[way].seconds:
                found[way] = Turn(seconds, result, counter.get_total_flops())
    return found


def rows_of(size: str, what: str, found: dict[str, Turn]) -> list[Row]:
    """Each way beside the plain loop that computes the same; other output is an error."""
    rows = []
    plain = found["plain"]
    for how, (seconds, result, operations) in found.items():
        ratios = seconds / plain.seconds, operations / plain.operations
        if how == "plain, reference once":
            rows.append(Row(size, what, how, seconds, *ratios, None, None))
            continue
        cached = how == "reference cache" and "plain, reference once" in found
        expected = found["plain, reference once" if cached else "plain"].result
        difference = (result - expected).abs().max().item()
        spread = expected.std().item()
        if difference > 1e-3 * max(spread, 1e-3):
            raise SystemExit(f"{size}, {what}, {how}: differs by {difference} of {spread}")
        rows.append(Row(size, what, how, seconds, *ratios, difference, spread))
    return rows


def as_markdown(machine: dict[str, Any], rows: list[Row]) -> str:
    """The report: the machine and the table."""
    header = ["size", "", "how", "processor seconds", "ratio to the plain loop"]
    header += ["arithmetic ratio", "time by it", "goal", "largest difference", "spread"]
    lines = ["# Sampling with Leffa at the size of Stable Diffusion 1.5", ""]
    lines += [", ".join(f"{key}: {value}" for key, value in machine.items()), ""]
    lines += [line(header), "|---" * len(header) + "|"]
    for row in rows:
        other = (row.largest_difference, row.spread)
        cells = [row.size, row.what, row.how, f"{row.seconds:.2f}", f"{row.ratio:.3f}"]
        cells += time_by_arithmetic(row.ratio, row.arithmetic)
        lines.append(line(cells + ["" if value is None else f"{value:.2g}" for value in other]))
    return "\n".join(lines) + "\n"


@torch.no_grad()
def main() -> None:
    """Measure, size by size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="HxW")
    parser.add_argument(
        "--pictures", nargs="*", default=["256x192"], metavar="HxW", help="whole pictures too"
    )
    parser.add_argument("--compile", action="store_true", help="our UNets")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()

    machine: dict[str, Any] = describe_machine() | {"dtype": "float32"}
    model = build_model()
    if arguments.compile:
        model.reference_unet.compile()
        model.generative_unet.compile()
    machine["compiled"] = "our UNets" if arguments.compile else "nothing"
    whole = arguments.sizes == SIZES
    name = "_".join(["inference_speed", *([] if whole else arguments.sizes)])
    rows: list[Row] = []
    for size in arguments.sizes:
        print(size, flush=True)
        sides, rounds = Sides(model, size), ROUNDS.get(size, 4)
        rows += rows_of(size, "a step", measure(sides.steps(), rounds))
        write(arguments.out, name, machine, rows)
        if size in arguments.pictures:
            picture = f"a picture of {PICTURE_STEPS} steps"
            rows += rows_of(size, picture, measure(sides.pictures(), rounds // 2))
            write(arguments.out, name, machine, rows)


def write(out: Path, name: str, machine: dict[str, Any], rows: list[Row]) -> None:
    """What is measured so far: printed, and as .json and .md."""
    machine["peak GB"] = round(peak_memory(torch.device("cpu")) / 2**30, 1)
    report = as_markdown(machine, rows)
    results = {"machine": machine, "rows": [asdict(row) for row in rows]}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / f"{name}.json", results)
    write_text(out / f"{name}.md", report)
    print(report, flush=True)


if __name__ == "__main__":
    main()
