"""A run shows how far it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lightning import LightningModule, Trainer

from leffa.data.datamodule import PersonDataModule
from leffa.training.callbacks.checkpoints import Checkpoints
from leffa.training.callbacks.progress import ProgressBar
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.module import PersonGenerationModule
from leffa.training.stages import Stage


class Watched(ProgressBar):
    """Keeps what the bar shows before each step."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.shown: list[tuple[float, float, float]] = []

    def on_train_batch_start(self, *at: object) -> None:
        bar = self.train_progress_bar
        self.shown.append((bar.n, bar.initial, bar.total))


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
def test_a_run_that_resumes_within_a_stage_shows_its_total(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
) -> None:
    stages = [Stage("first", 3, 32, 24, 2, 1e-2), Stage("second", 2, 32, 24, 2, 1e-2)]
    shown = []
    for steps, start in ((2, None), (5, tmp_path / "last.ckpt")):
        bar = Watched(refresh_rate=1)
        callbacks = [StageSchedule([1, 1]), Checkpoints(str(tmp_path), every_n_train_steps=1), bar]
        trainer = make_trainer(
            stages, *callbacks, checkpoints=True, max_steps=steps, enable_progress_bar=True
        )
        trainer.fit(make_module(stages), make_datamodule(stages), ckpt_path=start)
        shown.append(bar.shown)
    assert shown[0] == [(0, 0, 3), (1, 0, 3)]
    assert shown[1] == [(2, 2, 3), (0, 0, 2), (1, 0, 2)]
