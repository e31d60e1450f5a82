"""The switch of the Leffa loss.

Three thresholds decide where the loss acts (Leffa, section 3.2): the stage of the curriculum,
decided here; the timestep, by `LeffaLoss.select`; and the resolution of a layer, by
`FlowRequest.wants`. With `leffa_loss.layers=auto` the layers are chosen here too.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast

from lightning import Callback
from torch import nn

from leffa.data.batch import Batch, Record
from leffa.inference.checkpoints import FLOW_LAYERS
from leffa.inference.devices import to_device
from leffa.losses.flow import LeffaLoss, matches
from leffa.models.attention import flow_layers
from leffa.training.callbacks.base import BatchCallback
from leffa.training.inspection import error_by_layer
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
        if module.leffa_loss_on and module.leffa_loss.to_be_chosen:
            _choose_layers(module)
        if stage is not self.announced:
            self.announced = stage
            _announce(stage, module)

    def before_save(self, module: Module, checkpoint: dict[str, Any]) -> None:
        if module.leffa_loss.choose_by_match and module.leffa_loss.layers is not None:
            checkpoint[FLOW_LAYERS] = list(module.leffa_loss.layers)

    def before_load(self, module: Module, checkpoint: dict[str, Any]) -> None:
        if module.leffa_loss.choose_by_match and FLOW_LAYERS in checkpoint:
            module.leffa_loss.layers = tuple(checkpoint[FLOW_LAYERS])


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


def check_layers(loss: LeffaLoss, model: nn.Module, val: Sequence[Record]) -> None:
    """Refuse layers that the model has not, and a choice that nothing can be chosen by.

    Raises:
        ValueError: a pattern of `leffa_loss.layers` that no layer fits; or it is auto, and the
            validation data have no ground-truth flow.
    """
    known = flow_layers(model)
    for pattern in loss.layers or ():
        if not any(matches(name, pattern) for name in known):
            raise ValueError(
                f"leffa_loss.layers={pattern}: fits no layer of this {type(model).__name__}; "
                f"it has {', '.join(known)}"
            )
    if loss.to_be_chosen and not any(record.flow is not None for record in val):
        raise ValueError(
            "leffa_loss.layers=auto: chooses by the ground-truth flow, which the validation data "
            "do not have; name the layers, or train with leffa_loss.layers=all"
        )


def _choose_layers(module: Module) -> None:
    """The layers whose attention is nearest to the ground-truth flow, over the validation data."""
    loss, data = module.leffa_loss, cast(Any, module.trainer).datamodule
    module.model.eval()
    errors = error_by_layer(
        module.model,
        (to_device(batch, module.device) for batch in data.val_dataloader()),
        loss.request(),
        module.inspect_timestep,
        module.seed,
    )
    module.model.train()
    loss.layers = tuple(sorted(errors, key=errors.__getitem__)[: loss.auto_layers])
    for name in sorted(errors, key=errors.__getitem__):
        taken = "takes part" if name in loss.layers else "left alone"
        log.info("Leffa loss: EPE %.1f px, %s: %s", errors[name], taken, name)


def _announce(stage: Stage, module: Module) -> None:
    loss = module.leffa_loss
    state = (
        f"on: weight {loss.weight:g}, temperature {loss.temperature:g}, layers from "
        f"{loss.min_resolution:g} of the height"
        f"{'' if loss.layers is None else ', ' + ' '.join(loss.layers)}, "
        f"timesteps below {loss.max_timestep}"
        if module.leffa_loss_on
        else "off"
    )
    size = f"{stage.height}x{stage.width}"
    log.info("stage %s: %d steps at %s, Leffa loss %s", stage.name, stage.steps, size, state)
