"""Short, typed forms of the Lightning hooks that several callbacks share."""

from typing import Any, cast

from lightning import Callback, LightningModule, Trainer

from leffa.data.batch import Batch
from leffa.training.module import PersonGenerationModule as Module


class BatchCallback(Callback):
    """A callback of `PersonGenerationModule`, whose trainer is `module.trainer`."""

    def batch_start(self, module: Module, batch: Batch, index: int) -> None:
        """Before micro-batch `index` of the stage, also the first one of a resumed run."""

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        """After micro-batch `index`; `outputs` are those of `training_step`."""

    def before_save(self, module: Module, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint; called by every process."""

    def before_load(self, module: Module, checkpoint: dict[str, Any]) -> None:
        """Read from a checkpoint, or change it, before Lightning reads it."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *at: Any) -> None:
        self.batch_start(cast(Module, pl_module), *at)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *at: Any) -> None:
        self.batch_end(cast(Module, pl_module), *at)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, *at: Any) -> None:
        self.before_save(cast(Module, pl_module), *at)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, *at: Any) -> None:
        self.before_load(cast(Module, pl_module), *at)
