"""Non-finite checks and health metrics: loss per timestep bucket, gradient norms, collapsed
attention.

A collapsed attention looks at one point from everywhere. Losses do not show it, since on plain
garments such a flow has a low warp error; the spread of the flow does.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim import Optimizer

from leffa.data.batch import Batch
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module
from leffa.training.objective import StepResult
from leffa.training.sharding import full_tensor, is_sharded

log = logging.getLogger(__name__)


class Health(BatchCallback):
    """Stops at the first loss or gradient that is not finite, before it reaches a checkpoint, and
    logs what tells a healthy run from a failing one.

    Logged once per optimiser step: `health/diffusion_<from>_<to>`, `health/leffa/<layer>` (of the
    first process's samples), and `grad/<network>`, the norm of each network's gradient before
    clipping.

    Args:
        buckets: equal parts of [0, T) over which the diffusion loss is averaged.
        collapse_spread: a mean flow spread below this, with the Leffa loss on, is a sign of
            collapse. The flow of a garment that fills the picture has about 0.4.
        collapse_patience: validations in a row with that sign before a warning.
    """

    def __init__(
        self, buckets: int = 4, collapse_spread: float = 0.02, collapse_patience: int = 3
    ) -> None:
        self.buckets = buckets
        self.collapse_spread = collapse_spread
        self.collapse_patience = collapse_patience
        self.collapsed = 0  # validations in a row
        self.nonfinite = ""
        self.layers: set[str] = set()  # that have had a Leffa loss

    def on_before_optimizer_step(
        self,
        trainer: Trainer,
        pl_module: Module,  # type: ignore[override]
        optimizer: Optimizer,
    ) -> None:
        gradients = {
            name: parameter.grad
            for name, parameter in pl_module.model.named_parameters()
            if parameter.grad is not None
        }
        networks: dict[str, list[Tensor]] = {}
        for name, gradient in gradients.items():
            networks.setdefault(name.split(".")[0], []).append(gradient)
        norms = []
        for network, values in networks.items():
            norms.append(full_tensor(torch.nn.utils.get_total_norm(values)))
            pl_module.log(f"grad/{network}", norms[-1], batch_size=1)
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if not scaled and norms and not torch.isfinite(torch.stack(norms)).all():
            # With fp16 a scaler skips such steps and goes on; without one they would stay.
            self.nonfinite = _nonfinite_gradients(gradients)
            optimizer.zero_grad(set_to_none=True)  # leaves the weights as they are

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        result: StepResult = outputs["result"]
        if self.nonfinite or not torch.isfinite(result.loss):
            raise ValueError(self._diagnosis(module, result, batch, index))
        step: StepResult | None = outputs["step"]
        if step is None:
            return  # a micro-batch that completes no step
        width = module.model.schedule.steps / self.buckets
        bucket = (step.timesteps / width).long().clamp_max(self.buckets - 1)  # T itself: pure noise
        for index in range(self.buckets):
            members = step.diffusion[bucket == index]
            name = f"health/diffusion_{int(index * width)}_{int((index + 1) * width)}"
            # nan where there was no sample: Lightning would log the value of an earlier step.
            module.log(name, members.mean(), batch_size=1)
        if module.leffa_loss_on:
            self.layers |= step.layers.keys()
            nothing = torch.zeros_like(step.leffa)  # a step without a selected sample
            for layer in sorted(self.layers):
                loss = step.layers.get(layer, nothing)
                module.log(f"health/leffa/{layer}", loss, batch_size=1)

    def on_validation_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        spread = trainer.callback_metrics.get("val/flow/spread")
        if not pl_module.leffa_loss_on or spread is None:
            return
        self.collapsed = self.collapsed + 1 if spread < self.collapse_spread else 0
        if self.collapsed >= self.collapse_patience and trainer.is_global_zero:
            log.warning(
                "step %d: the flow has a spread of %.4f, for %d validations every query has looked "
                "at one point: collapse; try a larger leffa_loss.weight or a smaller "
                "leffa_loss.temperature",
                trainer.global_step,
                spread,
                self.collapsed,
            )

    def state_dict(self) -> dict[str, Any]:
        return {"collapsed": self.collapsed, "layers": sorted(self.layers)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.collapsed = state_dict["collapsed"]
        self.layers = set(state_dict.get("layers", ()))  # older checkpoints have none

    def _diagnosis(self, module: Module, result: StepResult, batch: Batch, index: int) -> str:
        """One line: the step, the loss term, the layer."""
        step = f"step {module.global_step}"
        if torch.isfinite(result.loss):
            return f"{step}: {self.nonfinite}; the last checkpoint is untouched"
        where = ""
        # The Leffa loss names its layer itself; a model in shards cannot be run by one process.
        if not torch.isfinite(result.diffusion).all() and not is_sharded(module.model):
            layer = _first_nonfinite_layer(
                module.model, lambda: module.evaluate_objective(batch, index)
            )
            where = f", first in the layer {layer}" if layer else ""
        return f"{step}: {_nonfinite_term(result)}{where}; the last checkpoint is untouched"


def _nonfinite_term(result: StepResult) -> str:
    """The part of a loss that is not finite, in words."""
    bad = ~torch.isfinite(result.diffusion)
    if bad.any():
        return f"the diffusion loss is not finite at timesteps {result.timesteps[bad].tolist()}"
    layers = [name for name, loss in result.layers.items() if not torch.isfinite(loss)]
    if layers:
        return f"the Leffa loss is not finite in {', '.join(layers)}"
    return "the loss is not finite, though its terms are: leffa_loss.weight is too large"


def _nonfinite_gradients(gradients: Mapping[str, Tensor]) -> str:
    """The weights whose gradients are not finite, in words; empty where all are."""
    bad = [
        name for name, value in gradients.items() if not torch.isfinite(full_tensor(value)).all()
    ]
    return f"the gradients of {len(bad)} weights are not finite, first {bad[0]}" if bad else ""


def _first_nonfinite_layer(model: nn.Module, evaluate: Callable[[], object]) -> str | None:
    """The first layer whose output is not finite when `evaluate` runs the model once more."""
    names = {layer: name for name, layer in model.named_modules() if not any(layer.children())}
    found: list[str] = []

    def check(layer: nn.Module, inputs: object, output: object) -> None:
        if layer in names and isinstance(output, Tensor) and not torch.isfinite(output).all():
            found.append(names[layer])

    handle = register_module_forward_hook(check)
    try:
        with torch.no_grad():
            evaluate()
    finally:
        handle.remove()
    return found[0] if found else None
