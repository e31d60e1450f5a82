"""A running average of the trained weights, beside the weights themselves.

Lightning's `EMAWeightAveraging` ends a run by overwriting the weights with the average, so that a
longer run cannot continue from its end; this one keeps both apart.
"""

from typing import Any

import torch
from lightning import Trainer
from torch import Tensor

from leffa.data.batch import Batch
from leffa.inference.checkpoints import EMA_STATE
from leffa.training.callbacks.base import BatchCallback
from leffa.training.module import PersonGenerationModule as Module
from leffa.training.sharding import gather_rank0, shard_like


class WeightAverage(BatchCallback):
    """Exponential moving average (EMA) of the trained weights, updated after each step.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that the average forgets the random
    beginning of a run. It is kept in float32 or better.

    Args:
        decay: weight of the past.
        validate: whether validation uses the average instead of the weights.
    """

    def __init__(self, decay: float = 0.9999, validate: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.ema.decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self.validate = validate
        self.weights: dict[str, Tensor] = {}
        self.raw: dict[str, Tensor] = {}  # the weights themselves, while validation has the average
        self.updates = 0
        self.step = 0

    def on_train_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        trained = _trained(pl_module)
        # A checkpoint of a run without an average begins one.
        source = self.weights or trained
        self.weights = {
            name: shard_like(source[name].detach(), parameter).to(
                parameter.device, _at_least_float32(parameter), copy=True
            )
            for name, parameter in trained.items()
        }
        self.step = trainer.global_step

    def batch_end(self, module: Module, outputs: dict[str, Any], batch: Batch, index: int) -> None:
        if module.trainer.global_step == self.step:
            return  # a micro-batch that completes no step
        self.step = module.trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        current = [
            parameter.detach().to(_at_least_float32(parameter))
            for parameter in _trained(module).values()
        ]
        with torch.no_grad():
            torch._foreach_lerp_(list(self.weights.values()), current, 1 - decay)

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        if not (self.validate and self.weights):
            return
        for name, parameter in _trained(pl_module).items():
            self.raw[name] = parameter.detach().clone()
            parameter.copy_(self.weights[name])

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: Module) -> None:  # type: ignore[override]
        trained = _trained(pl_module)
        for name, raw in self.raw.items():
            trained[name].copy_(raw)
        self.raw = {}

    def before_save(self, module: Module, checkpoint: dict[str, Any]) -> None:
        weights = gather_rank0(self.weights, module.trainer.is_global_zero)
        checkpoint[EMA_STATE] = {"weights": weights, "updates": self.updates}

    def before_load(self, module: Module, checkpoint: dict[str, Any]) -> None:
        if state := checkpoint.get(EMA_STATE):
            self.weights, self.updates = state["weights"], state["updates"]


def _trained(module: Module) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def _at_least_float32(parameter: Tensor) -> torch.dtype:
    return torch.promote_types(parameter.dtype, torch.float32)
