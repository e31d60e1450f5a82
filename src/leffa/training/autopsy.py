"""Where the first number that is none comes from: the loss term, the timestep, the layer."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from leffa.training.objective import StepResult
from leffa.training.sharding import whole


def sick_term(result: StepResult) -> str:
    """The part of a loss that is not finite, in words."""
    sick = ~torch.isfinite(result.diffusion)
    if sick.any():
        return f"the diffusion loss is not finite at timesteps {result.timesteps[sick].tolist()}"
    layers = [name for name, loss in result.layers.items() if not torch.isfinite(loss)]
    if layers:
        return f"the Leffa loss is not finite in {', '.join(layers)}"
    return "the loss is not finite, though its terms are: leffa_loss.weight is too large"


def sick_gradients(gradients: Mapping[str, Tensor]) -> str:
    """The weights whose gradients are not finite, in words; empty where all are."""
    sick = [name for name, value in gradients.items() if not torch.isfinite(whole(value)).all()]
    return f"the gradients of {len(sick)} weights are not finite, first {sick[0]}" if sick else ""


def first_sick_layer(model: nn.Module, evaluate: Callable[[], object]) -> str | None:
    """The first layer in the order of evaluation whose output is not finite, if any.

    Args:
        model: its layers are watched, by their dotted names.
        evaluate: runs the model once more, on what made it sick.
    """
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def look(layer: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return look

    leaves = [(name, layer) for name, layer in model.named_modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(watch(name)) for name, layer in leaves]
    try:
        with torch.no_grad():
            evaluate()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
