"""Tiny bases, and what tests ask a CatVTON on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from model_parts import ALL_LAYERS, MakeBatch, gradients, leffa_loss, noise_for

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.models.catvton import CatVTON
from leffa.models.interface import Prediction

__all__ = ["ALL_LAYERS", "MakeBatch", "gradients", "leffa_loss", "noise_for"]

Bases = Callable[[int], Path]


def build(base: Path, **changes: Any) -> CatVTON:
    return CatVTON(base, base, base, **changes)


def predict(model: CatVTON, batch: Batch, flow: FlowRequest | None = None) -> Prediction:
    timesteps = torch.arange(1, len(batch["name"]) + 1) * 100
    return model.predict_noise(noise_for(model, batch), timesteps, model.encode(batch), flow)


def attention_names(model: CatVTON) -> set[str]:
    return {name for name, _ in model.named_parameters() if ".attn1." in name}
