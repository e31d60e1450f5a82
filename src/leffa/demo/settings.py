"""What a user of `leffa demo` may choose."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Suppress

REPORT = ("report.html", "samples.png", "metrics.json")


@dataclass(frozen=True)
class DemoSettings:
    """The defaults take about six minutes on two free cores.

    Args:
        out: folder for everything but the data
        data: folder of the synthetic data sets
        steps: of each training
        seed: of the trainings
        fresh: redo what an earlier run has finished
        processes: at a time, a core each; 0: none but this one
        train_samples: synthetic samples to train on
        test_samples: and to test on
        evaluated: test samples that are generated and scored
        sampler_steps: of the generation
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
        """Raise ValueError where a value makes no sense."""
        if self.steps < 1:
            raise ValueError(f"--steps must be at least 1, got {self.steps}")
        if self.processes < 0:
            raise ValueError(f"--processes must be at least 0, got {self.processes}")
