"""A callback that keeps the model as it was before the first step, to compare with."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer

from leffa.io.atomic import replacing
from leffa.training.module import PersonGenerationModule


class SaveUntrained(Callback):
    """Writes `untrained.ckpt`, weights alone as `leffa.inference` reads them, when a run starts."""

    def on_fit_start(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
    ) -> None:
        checkpoint: dict[str, Any] = {"state_dict": pl_module.state_dict(), "global_step": 0}
        pl_module.on_save_checkpoint(checkpoint)
        with replacing(Path(trainer.default_root_dir) / "untrained.ckpt") as temporary:
            torch.save(checkpoint, temporary)
