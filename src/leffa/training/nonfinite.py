"""Finds the source of a non-finite loss or gradient: the loss term, the timestep, the layer."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from leffa.training.objective import StepResult
from leffa.training.sharding import full_tensor


def nonfinite_term(result: StepResult) -> str:
    """The part of a loss that is not finite, in words."""
    bad = ~torch.isfinite(result.diffusion)
    if bad.any():
        return f"the diffusion loss is not finite at timesteps {result.timesteps[bad].tolist()}"
    layers = [name for name, loss in result.layers.items() if not torch.isfinite(loss)]
    if layers:
        return f"the Leffa loss is not finite in {', '.join(layers)}"
    return "the loss is not finite, though its terms are: leffa_loss.weight is too large"


def nonfinite_gradients(gradients: Mapping[str, Tensor]) -> str:
    """The weights whose gradients are not finite, in words; empty where all are."""
    bad = [
        name for name, value in gradients.items() if not torch.isfinite(full_tensor(value)).all()
    ]
    return f"the gradients of {len(bad)} weights are not finite, first {bad[0]}" if bad else ""


def first_nonfinite_layer(model: nn.Module, evaluate: Callable[[], object]) -> str | None:
    """The first layer in the order of evaluation whose output is not finite, if any.

    Args:
        model: its layers are watched, by their dotted names.
        evaluate: runs the model once more, on the batch that failed.
    """
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def check(layer: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return check

    leaves = [(name, layer) for name, layer in model.named_modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(watch(name)) for name, layer in leaves]
    try:
        with torch.no_grad():
            evaluate()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
