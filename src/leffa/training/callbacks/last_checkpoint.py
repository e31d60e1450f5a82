"""The end of a run as a checkpoint."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class LastCheckpoint(Callback):
    """Makes `last.ckpt` the end of the run.

    `ModelCheckpoint(save_last=True)` alone leaves it at the last multiple of its interval.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        saver = trainer.checkpoint_callback
        if isinstance(saver, ModelCheckpoint) and saver.save_last and saver.dirpath:
            trainer.save_checkpoint(Path(saver.dirpath) / "last.ckpt")
