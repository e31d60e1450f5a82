"""Lightning's progress bar, with a total and an estimate after a resume too."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """A run that resumes within a stage never begins its epoch, where Lightning's bar gets both."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        bar = self.train_progress_bar
        bar.reset(trainer.num_training_batches)
        bar.initial = bar.n = done  # the estimate is that of the batches from here on
