"""The Leffa loss and the diffusion losses; depends on torch only."""

from leffa.losses.attention import AttentionLoss
from leffa.losses.blur import gaussian_blur
from leffa.losses.diffusion import DiffusionSchedule, TimestepSampling
from leffa.losses.flow import (
    LeffaLoss,
    LeffaLossOutput,
    coordinates,
    flow_field,
    upsample,
    warp,
)
from leffa.losses.flow_matching import DynamicShift, FlowMatchingSchedule, SigmaSampling
from leffa.losses.monitoring import Sharpness, attention_sharpness, reference_share
from leffa.losses.request import FlowRequest, LayerTokens, Supervision
from leffa.losses.schedule import NoiseSchedule, TimestepLaw, denoising_loss

__all__ = [
    "AttentionLoss",
    "DiffusionSchedule",
    "DynamicShift",
    "FlowMatchingSchedule",
    "FlowRequest",
    "LayerTokens",
    "LeffaLoss",
    "LeffaLossOutput",
    "NoiseSchedule",
    "Sharpness",
    "SigmaSampling",
    "Supervision",
    "TimestepLaw",
    "TimestepSampling",
    "attention_sharpness",
    "coordinates",
    "denoising_loss",
    "flow_field",
    "gaussian_blur",
    "reference_share",
    "upsample",
    "warp",
]
