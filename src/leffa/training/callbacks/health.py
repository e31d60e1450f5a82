"""Signs of a sick run: a loss that is no number, loss per timestep bucket, attention that
collapses.

A collapsed attention looks at one point from everywhere. The losses do not show it: on plain
garments the warp error of that flow is lower than that of the identity. The spread of the flow
does.
"""

import logging
from typing import Any

import torch
from lightning import Callback, Trainer

from leffa.data.batch import Batch
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import StepResult

log = logging.getLogger(__name__)


class Health(Callback):
    """Stops at the first loss that is not finite, and logs what tells a healthy run from a sick
    one.

    Args:
        buckets: equal parts of [0, T) over which `health/diffusion_<from>_<to>` is averaged.
        collapse_spread: a mean flow spread below this, with the Leffa loss on, is warned of. The
            flow of a garment that fills the picture has a spread of about 0.4.
    """

    def __init__(self, buckets: int = 4, collapse_spread: float = 0.02) -> None:
        self.buckets = buckets
        self.collapse_spread = collapse_spread

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,  # type: ignore[override]
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        result: StepResult = outputs["result"]
        if not torch.isfinite(result.loss):
            raise ValueError(_what_is_not_finite(result, trainer.global_step))
        steps = pl_module.model.schedule.steps
        width = steps / self.buckets
        bucket = (result.timesteps / width).long()
        for index in range(self.buckets):
            members = result.diffusion[bucket == index]
            if len(members):
                name = f"health/diffusion_{int(index * width)}_{int((index + 1) * width)}"
                pl_module.log(name, members.mean(), batch_size=len(members))
        for layer, loss in result.layers.items():
            pl_module.log(f"health/leffa/{layer}", loss, batch_size=result.selected)

    def on_validation_end(self, trainer: Trainer, pl_module: PersonGenerationModule) -> None:  # type: ignore[override]
        spread = trainer.callback_metrics.get("val/flow/spread")
        if pl_module.leffa_loss_on and spread is not None and spread < self.collapse_spread:
            log.warning(
                "step %d: the flow has a spread of %.4f, every query looks at one point: collapse; "
                "try a larger leffa_loss.weight or a smaller leffa_loss.temperature",
                trainer.global_step,
                spread,
            )


def _what_is_not_finite(result: StepResult, step: int) -> str:
    if not torch.isfinite(result.diffusion).all():
        sick = result.timesteps[~torch.isfinite(result.diffusion)].tolist()
        where = f"the diffusion loss is not finite at timesteps {sick}"
        return f"step {step}: {where}; the last checkpoint is untouched"
    layers = [name for name, loss in result.layers.items() if not torch.isfinite(loss)]
    where = f"the Leffa loss is not finite in {', '.join(layers)}"
    return f"step {step}: {where}; the last checkpoint is untouched"
