"""The switch of the Leffa loss.

Three thresholds decide where the loss acts (Leffa, section 3.2): the stage of the curriculum,
decided here; the timestep, by `LeffaLoss.select`; and the resolution of a layer, by
`FlowRequest.wants`.
"""

import logging
from collections.abc import Iterable, Sequence

from lightning import Callback

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module
from leffa.training.stages import Stage

log = logging.getLogger(__name__)


class LeffaLossSwitch(BatchCallback):
    """Turns the loss on in the stages that ask for it, unless `leffa_loss=off`."""

    def __init__(self) -> None:
        self.announced: Stage | None = None

    def batch_start(self, module: Module, batch: Batch, index: int) -> None:
        # Not at the start of the epoch: a run that resumes within a stage has none.
        stage = module.curriculum.stages[module.trainer.current_epoch]
        module.leffa_loss_on = stage.leffa_loss and module.leffa_loss.active
        if stage is not self.announced:
            self.announced = stage
            _announce(stage, module)


def check_switch(loss: LeffaLoss, stages: Sequence[Stage], callbacks: Iterable[Callback]) -> None:
    """Refuse to train without the loss where nobody turned it off.

    Raises:
        ValueError: a stage wants the loss, and no callback would turn it on.
    """
    wanting = [stage.name for stage in stages if stage.leffa_loss and loss.active]
    if wanting and not any(isinstance(each, LeffaLossSwitch) for each in callbacks):
        raise ValueError(
            f"callbacks: stage {wanting[0]} wants the Leffa loss, and no LeffaLossSwitch turns "
            "it on; keep callbacks.leffa_loss of callbacks=default, or train without it: "
            "leffa_loss=off"
        )


def check_participation(loss: LeffaLoss, stages: Sequence[Stage], module: Module) -> None:
    """Refuse a loss that is on and in which no sample can take part.

    Raises:
        ValueError: a stage wants the loss; all timesteps are too late, or all references dropped.
    """
    taking_part = module.objective.participation(loss, module.model.schedule.steps)
    if loss.active and any(stage.leffa_loss for stage in stages) and not taking_part:
        raise ValueError(
            f"leffa_loss.max_timestep={loss.max_timestep} with objective.reference_dropout="
            f"{module.objective.reference_dropout:g}: no sample can take part in the Leffa loss; "
            "change one of them, or give leffa_loss=off"
        )


def _announce(stage: Stage, module: Module) -> None:
    loss = module.leffa_loss
    state = (
        f"on: weight {loss.weight:g}, temperature {loss.temperature:g}, layers from "
        f"{loss.min_resolution:g} of the height, timesteps below {loss.max_timestep}"
        if module.leffa_loss_on
        else "off"
    )
    size = f"{stage.height}x{stage.width}"
    log.info("stage %s: %d steps at %s, Leffa loss %s", stage.name, stage.steps, size, state)
