"""What steps must compute and move: the yardstick of the speed benchmarks. No weights, no values.

    python benchmarks/arithmetic.py                          prints the table; minutes of a core
    python benchmarks/arithmetic.py --out benchmarks/results keeps it: arithmetic.json and .md

PyTorch's counter counts multiplications and additions of matrices and convolutions on fake tensors;
bytes are what every operator reads and writes, as if nothing stayed in a cache. A ratio is what
times can differ by at best where arithmetic, or memory, is all that costs.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from plain_leffa import PlainLeffa
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from leffa.commands.estimate import build_shapes
from leffa.data.batch import Batch
from leffa.estimate.bases import SCHEDULER, SD15_UNET, SDXL_UNET, VAE, without_weights
from leffa.estimate.count import CPU_ATTENTION, forget_values, step_loss
from leffa.io.atomic import write_json, write_text
from leffa.losses.flow import LeffaLoss
from leffa.models.interface import PersonGenerator
from leffa.models.latent import reference_features
from leffa.models.leffa import LeffaModel
from leffa.models.memory import RunMemory
from leffa.run import settings

UNETS = {"SD1.5": SD15_UNET, "SDXL": SDXL_UNET}
# By their experiments, which say how they are guided and which layers the loss is on.
TRANSFORMERS = {"FitDiT": "fitdit_vitonhd", "CatVTON-FLUX": "catvton_flux_vitonhd"}
SIZES = ((768, 576), (1024, 768))
GUIDANCE = 2.5
PLAIN, TRAINING = "a step, as released", "a training step"


@dataclass(frozen=True)
class Row:
    """A step of one picture, and its ratio to the first one of its kind."""

    network: str
    size: str
    step: str
    teraflops: float
    gigabytes: float
    flops_ratio: float
    bytes_ratio: float


class Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if not func.is_view:
            tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return result


def flop_counter() -> FlopCounterMode:
    """PyTorch's, that knows attention on a CPU too."""
    return FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)


def count(compute: Callable[[], object]) -> tuple[int, int]:
    """Operations and bytes of a computation."""
    with flop_counter() as flops, Traffic() as traffic:
        compute()
    return flops.get_total_flops(), traffic.bytes


def pictures(height: int, width: int) -> Batch:
    """One picture of no values."""
    channels = {"source": 3, "reference": 3, "mask": 1, "densepose": 3, "loss_region": 1}
    planes: Any = {key: torch.empty(1, number, height, width) for key, number in channels.items()}
    return {**planes, "name": ["one"], "category": ["upper_body"]}


def sampling(model: LeffaModel, height: int, width: int) -> dict[str, tuple[int, int]]:
    """A guided denoising step: as the released code does it, and as we do."""
    batch = pictures(height, width)
    known = model.attach_cache(model.encode(batch), RunMemory(limit=0))
    noisy = torch.empty(1, *model.latent_shape(batch))
    timesteps = torch.zeros(1, dtype=torch.long)
    branches = [branch for _, branch in known.branches(GUIDANCE)]
    frozen = model.freeze_reference(known, 500)
    cached = [branch for _, branch in frozen.branches(GUIDANCE)]
    plain = PlainLeffa(model)
    first = count(lambda: model.predict_branches(noisy, timesteps, branches))
    # Without a reference the features are the same for every picture of a run.
    unet = model.reference_unet
    empty = count(lambda: reference_features(unet, known.reference, timesteps))
    model.predict_branches(noisy, timesteps, cached)
    return {
        PLAIN: count(
            lambda: plain.guided_noise(noisy, timesteps, known.concat, known.reference, GUIDANCE)
        ),
        "a step, first picture": first,
        "a step, a later picture": (first[0] - empty[0], first[1] - empty[1]),
        "a step, reference cache": count(lambda: model.predict_branches(noisy, timesteps, cached)),
    }


def transformer_sampling(
    model: PersonGenerator, height: int, width: int, guidance: float
) -> dict[str, tuple[int, int]]:
    """A guided denoising step of a picture: the first one, and those that find what it left."""
    batch = pictures(height, width)
    known = model.attach_cache(model.encode(batch), RunMemory(limit=0))
    noisy, timesteps = torch.empty(1, *model.latent_shape(batch)), torch.zeros(1).long()
    step = partial(
        model.predict_branches, noisy, timesteps, [each for _, each in known.branches(guidance)]
    )
    return {"the first step of a picture": count(step), "a later step": count(step)}


def training(
    model: PersonGenerator, height: int, width: int, leffa_loss: LeffaLoss
) -> dict[str, tuple[int, int]]:
    """Forward and backward of one picture, which takes part; its latents are cached."""
    batch = pictures(height, width)
    batch["latents"] = model.latents(batch)
    return {
        name: count(partial(_forward_and_backward, model, batch, loss))
        for name, loss in ((TRAINING, None), (f"{TRAINING} with the Leffa loss", leffa_loss))
    }


def _forward_and_backward(model: PersonGenerator, batch: Batch, loss: LeffaLoss | None) -> None:
    step_loss(model, batch, half=False, leffa_loss=loss).backward()


def rows_of(network: str, height: int, width: int) -> list[Row]:
    """All steps of a network at a size."""
    unet = UNETS[network] | {"in_channels": 9}
    with torch.device("meta"):
        model = LeffaModel(unet, {"_class_name": "AutoencoderKL", **VAE}, SCHEDULER)
    with FakeTensorMode(allow_non_fake_inputs=True):
        forget_values(model)
        with torch.no_grad():
            counts = sampling(model.eval(), height, width)
        counts |= training(model.train(), height, width, LeffaLoss())
    return _compared(network, f"{height}x{width}", counts)


def transformer_rows(network: str, height: int, width: int) -> list[Row]:
    """All steps of a diffusion transformer at a size."""
    config = settings(
        "train", [f"experiment={TRANSFORMERS[network]}"], "model", "leffa_loss", "sampler"
    )
    loss = LeffaLoss(**{k: v for k, v in config["leffa_loss"].items() if k != "_target_"})
    with TemporaryDirectory() as folder:
        model = build_shapes(without_weights(config["model"], Path(folder)), checkpointing=False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        forget_values(model)
        with torch.no_grad():
            guidance = config["sampler"]["guidance"]
            counts = transformer_sampling(model.eval(), height, width, guidance)
        counts |= training(model.train(), height, width, loss)
    return _compared(network, f"{height}x{width}", counts)


def _compared(network: str, size: str, counts: dict[str, tuple[int, int]]) -> list[Row]:
    """Each beside the first one of its kind."""
    first = next(iter(counts))
    rows = []
    for step, (flops, traffic) in counts.items():
        base = counts[TRAINING if step.startswith(TRAINING) else first]
        ratios = flops / base[0], traffic / base[1]
        rows.append(Row(network, size, step, flops / 1e12, traffic / 1e9, *ratios))
    return rows


def as_markdown(rows: list[Row]) -> str:
    """The table."""
    lines = ["# What steps of Leffa must compute and move", ""]
    lines += ["One picture, float32; guidance in sampling, cached latents in training.", ""]
    lines += ["| network | size | step | TFLOP | GB | TFLOP, ratio | GB, ratio |"]
    lines += ["|---|---|---|---:|---:|---:|---:|"]
    for row in rows:
        numbers = f"{row.teraflops:.2f} | {row.gigabytes:.1f} | {row.flops_ratio:.3f}"
        lines.append(
            f"| {row.network} | {row.size} | {row.step} | {numbers} | {row.bytes_ratio:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count and print the table; with --out, write it as .json and .md too."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder of the result; not given: printed alone")
    arguments = parser.parse_args()
    rows = [row for network in UNETS for size in SIZES for row in rows_of(network, *size)]
    rows += [
        row
        for network in TRANSFORMERS
        for size in SIZES
        for row in transformer_rows(network, *size)
    ]
    print(as_markdown(rows))
    if arguments.out is not None:
        write_text(arguments.out / "arithmetic.md", as_markdown(rows))
        write_json(arguments.out / "arithmetic.json", [asdict(row) for row in rows])


if __name__ == "__main__":
    main()
