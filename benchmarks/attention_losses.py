"""What each loss on the attention adds to a training step: ratios, all in one run.

    python benchmarks/attention_losses.py                                    a CPU, a small SD1.5
    python benchmarks/attention_losses.py --device cuda --bf16 --height 1024 --width 768
    ... --out benchmarks/results                keeps it: attention_losses_256x192.json and .md

The method, the networks and the plain step, which has no such loss, are those of `train_step.py`.
Every sample takes part, and every layer: the most that a loss can cost. The region is a random half
of the pixels, whose tokens all look for a match; a garment has fewer.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, cast

import torch
from torch.nn.functional import interpolate
from train_step import Bench, describe_step, measure, step_options, table

from leffa.data.batch import Batch
from leffa.io.atomic import write_json, write_text
from leffa.losses.attention import AttentionLoss
from leffa.metrics.flow import identity_flow

GOAL = 1.3
LOSSES: dict[str, dict[str, Any]] = {
    "leffa": {},
    "leffa, total variation and entropy": {"total_variation_weight": 1.0, "entropy_weight": 1.0},
    "matches of 85 points": {"name": "matches"},
    "matches of all pixels": {"name": "matches", "points": None},
    "matches, coordinates": {"name": "matches", "space": "coordinates"},
    "oracle": {"name": "oracle"},
    "photometric": {"name": "photometric"},
    "total_variation": {"name": "total_variation"},
    "entropy": {"name": "entropy"},
}


class LossBench(Bench):
    """The bench with a ground-truth flow, as smooth as cloth bends: the identity and a bend."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(arguments)
        count, _, height, width = self.batch["source"].shape
        bend = 0.15 * torch.randn(count, 2, 5, 4, device=self.device)
        bend = interpolate(bend, (height, width), mode="bicubic", align_corners=True)
        flow = (identity_flow(height, width).to(bend) + bend.movedim(1, -1)).clamp(-1, 1)
        known = {"flow": flow, "flow_valid": torch.ones_like(self.batch["mask"])}
        self.batch = cast(Batch, {**self.batch, **known})

    @contextmanager
    def loss_on(self, **settings: Any) -> Iterator[None]:
        self.loss = AttentionLoss(max_timestep=self.model.schedule.steps, **settings)
        yield
        self.loss = None


def _variant(settings: dict[str, Any]) -> Callable[[LossBench], Any]:
    return lambda bench: bench.loss_on(**settings)


def main() -> None:
    """Measure and print the table; with --out, write it as .json and .md too."""
    parser = step_options(__doc__)
    parser.add_argument("--only", nargs="+", default=[*LOSSES], choices=[*LOSSES], metavar="LOSS")
    arguments = parser.parse_args()
    setting = describe_step(arguments)
    variants: dict[str, Callable[[LossBench], Any]] = {"plain": LossBench.plain}
    variants |= {
        name: _variant(settings) for name, settings in LOSSES.items() if name in arguments.only
    }
    rows = measure(LossBench(arguments), arguments.rounds, variants)
    most = max(rows, key=lambda row: row.ratio)
    report = "# A training step: what each loss on the attention costs\n\n" + table(setting, rows)
    verdict = "met" if most.ratio <= GOAL else "missed"
    report += f"\nGoal, at most {GOAL} for each: {most.ratio:.2f} ({most.variant}), {verdict}.\n"
    print(report)
    if arguments.out is not None:
        device = "" if arguments.device == "cpu" else "_cuda"
        name = f"attention_losses{device}_{setting['picture']}"
        write_text(arguments.out / f"{name}.md", report)
        write_json(
            arguments.out / f"{name}.json",
            {"setting": setting, "rows": [asdict(row) for row in rows]},
        )


if __name__ == "__main__":
    main()
