"""The options that models share: which of their networks are trained, and how."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn


def check_trainable(trainable: Sequence[str], sources: Mapping[str, Any]) -> None:
    """Raise ValueError where `model.trainable` names no network of a model, or leaves out one that
    is random.

    Args:
        sources: of each network, by the name of its key.
    """
    if unknown := sorted(set(trainable) - sources.keys()):
        raise ValueError(
            f"model.trainable: unknown {unknown[0]!r}; choose from {', '.join(sources)}"
        )
    for part, source in sources.items():
        if isinstance(source, dict) and part not in trainable:
            raise ValueError(
                f"model.{part}: a config gives random weights, and it is frozen; give a "
                f"pretrained one, or add {part} to model.trainable"
            )


def check_pretrained(source: object, key: str) -> None:
    """Raise ValueError where a network of which `key` trains a part is random."""
    if isinstance(source, dict):
        raise ValueError(
            f"{key}: the rest of the network stays as it is, and this backbone's is random; take a "
            "pretrained backbone, or model.trainable=all"
        )


def freeze_all_but(model: nn.Module, trainable: Sequence[str], parts: Iterable[str]) -> None:
    """Freeze those networks of a model that are not trained."""
    for part in parts:
        if part not in trainable:
            model.get_submodule(part).requires_grad_(False)


def checkpoint_gradients(enabled: bool, *networks: Any) -> None:
    """Let networks of diffusers compute their activations again in the backward pass."""
    for network in networks if enabled else ():
        network.enable_gradient_checkpointing()
