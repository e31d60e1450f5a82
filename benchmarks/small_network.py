"""What each choice does to a training step of the small networks of the synthetic data, on a CPU.

    OMP_NUM_THREADS=1 python benchmarks/small_network.py
    ... --out benchmarks/results       keeps it: small_network.json and .md

The demo, the studies and most tests run these networks. The method is that of `train_step.py`: one
step of each variant in turn, round after round; a ratio is to the plain step of the same round. The
plain step is that of `experiment=tryon_synthetic leffa_loss=off`: float32, cached latents, fused
AdamW.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from train_step import Bench, describe, measure, pictures, table

from leffa.data.batch import Batch
from leffa.io.atomic import write_json, write_text
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.models.loading import SHIPPED, SHIPPED_UNET, load_unet
from leffa.run import compose
from leffa.training.objective import DiffusionObjective

ONE_LAYER = "down_blocks.0"  # at the latent's resolution


class SmallBench(Bench):
    """The model and the batch of `experiment=tryon_synthetic`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device, self.bf16, self.parts = torch.device("cpu"), False, 1
        scheduler = compose("train", ["backbone=tiny"]).backbone.scheduler
        self.scheduler = dict(scheduler)
        batch = pictures(arguments.batch, arguments.height, arguments.width, self.device)
        self.use(LeffaModel(SHIPPED, SHIPPED, self.scheduler), batch)
        self.objective = DiffusionObjective()
        self.loss: LeffaLoss | None = None
        self.compiled_models: dict[bool, Any] = {}

    def use(self, model: LeffaModel, batch: Batch) -> None:
        """Take this model, and latents of the batch that are encoded once."""
        self.model = model.train()
        with torch.no_grad():
            self.batch = cast(Batch, {**batch, "latents": self.model.latents(batch)})
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=0.0, fused=True)

    @contextmanager
    def loss_on(self, layers: Any) -> Iterator[None]:
        self.loss = LeffaLoss(max_timestep=self.model.schedule.steps, blur=0.05, layers=layers)
        yield
        self.loss = None

    @contextmanager
    def bfloat16(self) -> Iterator[None]:
        self.bf16 = True
        yield
        self.bf16 = False

    @contextmanager
    def convolved(self) -> Iterator[None]:
        """1x1 convolutions around the attention, as Stable Diffusion 1.5 has them."""
        before = self.model, self.batch, self.trained, self.optimizer
        if not hasattr(self, "other"):
            config = {**load_unet(SHIPPED_UNET).config, "use_linear_projection": False}
            self.use(LeffaModel(config, SHIPPED, self.scheduler), self.batch)
            self.other = self.model, self.batch, self.trained, self.optimizer
        self.model, self.batch, self.trained, self.optimizer = self.other
        yield
        self.model, self.batch, self.trained, self.optimizer = before


VARIANTS: dict[str, Callable[[SmallBench], Any]] = {
    "plain": SmallBench.plain,
    "Leffa loss on all layers": lambda bench: bench.loss_on("all"),
    f"Leffa loss on {ONE_LAYER}": lambda bench: bench.loss_on([ONE_LAYER]),
    "bfloat16 autocast": SmallBench.bfloat16,
    "channels_last": SmallBench.channels_last,
    "1x1 convolutions": SmallBench.convolved,
    "accumulation of 2 half batches": SmallBench.accumulation,
    "compiled blocks": SmallBench.compiled,
    "compiled networks": lambda bench: bench.compiled(whole=True),
}


def main() -> None:
    """Measure and print the table; with --out, write it as .json and .md too."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=16, help="pictures of a step; even")
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--width", type=int, default=72)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--skip", nargs="*", default=[], choices=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--out", type=Path, help="folder of the result; not given: printed alone")
    arguments = parser.parse_args()
    setting = describe(arguments, "the shipped ones", "float32")
    chosen = {name: make for name, make in VARIANTS.items() if name not in arguments.skip}
    rows = measure(SmallBench(arguments), arguments.rounds, chosen)
    speed = arguments.batch / rows[0].seconds
    report = "# A training step of the small networks\n\n" + table(setting, rows)
    report += f"\nThe plain step: {speed:.1f} images/s.\n"
    print(report)
    if arguments.out is not None:
        write_text(arguments.out / "small_network.md", report)
        results = {"setting": setting, "images_per_second": speed}
        write_json(
            arguments.out / "small_network.json", {**results, "rows": [asdict(r) for r in rows]}
        )


if __name__ == "__main__":
    main()
