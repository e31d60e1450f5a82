"""What a user of `leffa demo` may choose."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Suppress

REPORT = ("report.html", "samples.png", "metrics.json")


@dataclass(frozen=True)
class DemoSettings:
    """The defaults take five to six minutes on two free cores.

    Args:
        out: output folder
        data: folder of the synthetic datasets
        steps: training steps of each model
        seed: training seed
        fresh: redo finished parts of an earlier run
        processes: parallel processes, one core each; 0: only this one
        train_samples: synthetic training samples
        test_samples: synthetic test samples
        evaluated: test samples that are generated and scored
        sampler_steps: sampling steps
    """

    out: Path = Path("outputs/demo")
    data: Path = Path("data")
    steps: int = 300
    seed: int = 0
    fresh: bool = False
    processes: int = 2
    train_samples: Suppress[int] = 600
    test_samples: Suppress[int] = 64
    evaluated: Suppress[int] = 32
    sampler_steps: Suppress[int] = 15

    def check(self) -> None:
        if self.steps < 1:
            raise ValueError(f"--steps must be at least 1, got {self.steps}")
        if self.processes < 0:
            raise ValueError(f"--processes must be at least 0, got {self.processes}")
