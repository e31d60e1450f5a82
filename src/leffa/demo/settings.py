"""What a user of `leffa demo` may choose."""

from dataclasses import dataclass
from pathlib import Path

REPORT = ("report.html", "samples.png", "metrics.json")


@dataclass(frozen=True)
class DemoSettings:
    """The defaults take about a quarter of an hour on two cores.

    Args:
        out: where everything but the data goes.
        data: where data sets are drawn, as `paths.data_dir` of train.py.
        steps: of each training.
        seed: of the trainings; 0 is a seed.
        fresh: redo what is there already.
        processes: trainings or evaluations at a time, each on one core; 0: all in this process.
        train_samples, test_samples: drawn.
        evaluated: test samples that are generated and scored.
        sampler_steps: of the generation.
    """

    out: Path = Path("outputs/demo")
    data: Path = Path("data")
    steps: int = 700
    seed: int = 0
    fresh: bool = False
    processes: int = 2
    train_samples: int = 600
    test_samples: int = 64
    evaluated: int = 32
    sampler_steps: int = 15

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"--steps must be at least 1, got {self.steps}")
        if self.processes < 0:
            raise ValueError(f"--processes must be at least 0, got {self.processes}")
