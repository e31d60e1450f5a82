"""Non-finite checks and health metrics: loss per timestep bucket, gradient norms, collapsed
attention.

In a collapsed attention all queries look at one point. Losses do not show it, since on plain
garments such a flow has a low warp error; the spread of the flow does.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim import Optimizer

from leffa.data.batch import Batch
from leffa.io.numbers import check_count, check_number
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module
from leffa.training.objective import StepResult
from leffa.training.sharding import full_tensor, is_sharded

log = logging.getLogger(__name__)


class Health(BatchCallback):
    """Stops at the first loss or gradient that is not finite, before it reaches a checkpoint, and
    logs health metrics.

    A GPU is not waited for: it has its next micro-batch before its last one is looked at. The step
    of gradients that are not finite is one of zeros there; on a CPU it is none.

    Logged once per optimiser step: `health/diffusion_<from>_<to>`, `health/leffa/<layer>` (of the
    first process's samples), and `grad/<network>`, the norm of each network's gradient before
    clipping.

    Args:
        buckets: equal parts of [0, T) over which the diffusion loss is averaged.
        collapse_spread: a mean flow spread below this, with the Leffa loss on, is a sign of
            collapse. The flow of a garment that fills the image has about 0.4.
        collapse_patience: validations in a row with that sign before a warning.
    """

    def __init__(
        self, buckets: int = 4, collapse_spread: float = 0.02, collapse_patience: int = 3
    ) -> None:
        check_count("callbacks.health.buckets", buckets)
        check_count("callbacks.health.collapse_patience", collapse_patience)
        check_number("callbacks.health.collapse_spread", collapse_spread)
        self.buckets = buckets
        self.collapse_spread = collapse_spread
        self.collapse_patience = collapse_patience
        self.collapsed = 0  # validations in a row
        self.nonfinite = ""
        self.gradients_finite: Tensor | None = None  # () of the last step, on the device
        self.last: _Look | None = None  # the micro-batch that is still to be looked at
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
        if scaled or not norms:
            return
        finite = torch.isfinite(torch.stack(norms)).all()
        if looks_later(pl_module.device):
            self.gradients_finite = finite
            for gradient in gradients.values():
                gradient.copy_(gradient.where(finite, 0))
        elif not finite:
            # With fp16 a scaler skips such steps and goes on; without one they would stay.
            self.nonfinite = _nonfinite_gradients(gradients)
            optimizer.zero_grad(set_to_none=True)  # leaves the weights as they are

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        result: StepResult = outputs["result"]
        self._look(module)
        flags = [torch.isfinite(result.loss)]
        if self.gradients_finite is not None:
            flags.append(self.gradients_finite)
        self.gradients_finite = None
        self.last = _Look.take(torch.stack(flags), module.global_step, result, batch, index)
        if not looks_later(module.device):
            self._look(module)
        step: StepResult | None = outputs["step"]
        if step is None:
            return  # a micro-batch that completes no step
        width = module.model.schedule.steps / self.buckets
        bucket = (step.timesteps / width).long().clamp_max(self.buckets - 1)  # T itself: pure noise
        for index in range(self.buckets):
            inside = bucket == index
            mean = step.diffusion.where(inside, 0).sum() / inside.sum()
            name = f"health/diffusion_{int(index * width)}_{int((index + 1) * width)}"
            # nan where there was no sample: Lightning would log the value of an earlier step.
            module.log(name, mean, batch_size=1)
        if module.leffa_loss_on:
            self.layers |= step.layers.keys()
            nothing = torch.zeros_like(step.leffa)  # a step without a selected sample
            for layer in sorted(self.layers):
                loss = step.layers.get(layer, nothing)
                module.log(f"health/leffa/{layer}", loss, batch_size=1)

    def _look(self, module: Module) -> None:
        """Stop where the last micro-batch was not finite."""
        last, self.last = self.last, None
        if last is not None and (self.nonfinite or not all(last.finite())):
            raise ValueError(self._diagnosis(module, last))

    def before_save(self, module: Module, checkpoint: dict[str, Any]) -> None:
        self._look(module)

    def on_validation_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self._look(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        self._look(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        spread = trainer.callback_metrics.get("val/flow/spread")
        if not pl_module.leffa_loss_on or spread is None:
            return
        self.collapsed = self.collapsed + 1 if spread < self.collapse_spread else 0
        if self.collapsed >= self.collapse_patience and trainer.is_global_zero:
            log.warning(
                "step %d: the flow has a spread of %.4f, all queries have looked at one point for "
                "%d validations (collapse); try a larger leffa_loss.weight or a smaller "
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

    def _diagnosis(self, module: Module, last: "_Look") -> str:
        """One line: the step, the loss term, the layer."""
        step, result = f"step {last.step}", last.result
        if torch.isfinite(result.loss):
            what = self.nonfinite or "the gradients of some weights are not finite"
            return f"{step}: {what}; the last checkpoint is untouched"
        where = ""
        # The Leffa loss names its layer itself; a model in shards cannot be run by one process.
        if not torch.isfinite(result.diffusion).all() and not is_sharded(module.model):
            layer = _first_nonfinite_layer(
                module.model, lambda: module.evaluate_objective(last.batch, last.index)
            )
            where = f", first in the layer {layer}" if layer else ""
        return f"{step}: {_nonfinite_term(result)}{where}; the last checkpoint is untouched"


def looks_later(device: torch.device) -> bool:
    """Whether it is asked without waiting, and answers later."""
    return device.type == "cuda"


@dataclass(frozen=True)
class _Look:
    """A micro-batch, and whether its loss and the gradients of its step are finite."""

    flags: Tensor  # on the CPU, as soon as the event has happened
    event: torch.cuda.Event | None
    step: int
    result: StepResult
    batch: Batch
    index: int

    @classmethod
    def take(cls, flags: Tensor, *rest: Any) -> "_Look":
        """Begin to bring the flags from their device."""
        here = flags.to("cpu", non_blocking=True)
        event = torch.cuda.current_stream().record_event() if flags.is_cuda else None
        return cls(here, event, *rest)

    def finite(self) -> list[bool]:
        """The flags; waits for the device until it has come so far."""
        if self.event is not None:
            self.event.synchronize()
        found: list[bool] = self.flags.tolist()
        return found


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
