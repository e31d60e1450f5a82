"""Images during training: what is generated, and what the attention warps."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image

from leffa.data.batch import Batch
from leffa.io.numbers import check_count
from leffa.io.png import save_png, to_uint8
from leffa.pictures import sample_rows
from leffa.training.module import PersonGenerationModule


class ImageGrid(Callback):
    """Writes `<folder>/step_<N>.png` at each validation, also to the loggers that take images.

    Columns: reference, source, agnostic, generated, attention-warped reference, predicted flow, and
    the ground-truth flow where it is known.
    """

    def __init__(self, folder: str, rows: int = 6) -> None:
        self.folder = Path(folder)
        check_count("callbacks.images.rows", rows)
        self.rows = rows

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx or not trainer.is_global_zero:
            return
        rows = sample_rows(batch, outputs["images"], outputs["flows"])[: self.rows]
        grid = np.concatenate(
            [np.concatenate([to_uint8(cell) for cell in row], axis=1) for row in rows], axis=0
        )
        save_png(Image.fromarray(grid), self.folder / f"step_{trainer.global_step:06d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    "val/images", grid, trainer.global_step, dataformats="HWC"
                )
            elif isinstance(logger, WandbLogger):
                logger.log_image("val/images", [Image.fromarray(grid)], step=trainer.global_step)
