"""Classifier-free guidance: how a step combines the predictions with and without a reference."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import SamplerSettings, guided_noise, name_noise


@pytest.fixture
def model(build_model: Callable[..., LeffaModel]) -> LeffaModel:
    return build_model().eval()


def branches(
    model: LeffaModel, batch: Batch, settings: SamplerSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """The unconditional, the conditional and the guided prediction."""
    conditioning = model.encode(batch)
    noisy = name_noise(batch["name"], model.latent_shape(batch), 0, torch.device("cpu"))
    timesteps = torch.full((len(noisy),), 300)
    with torch.no_grad():
        conditional = model.predict_noise(noisy, timesteps, conditioning).noise
        without = model.predict_noise(noisy, timesteps, conditioning.unconditional()).noise
        guided = guided_noise(model, noisy, torch.tensor(300), conditioning, settings)
    return without, conditional, guided


def test_guidance_moves_away_from_the_prediction_without_reference(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    without, conditional, guided = branches(model, make_batch(), SamplerSettings(guidance=2.5))
    torch.testing.assert_close(guided, without + 2.5 * (conditional - without))
    _, conditional, plain = branches(model, make_batch(), SamplerSettings(guidance=1.0))
    torch.testing.assert_close(plain, conditional)


def test_guidance_rescale_brings_back_the_spread_of_the_conditional_prediction(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    settings = SamplerSettings(guidance=5.0)
    _, conditional, guided = branches(model, make_batch(), settings)
    full = branches(model, make_batch(), replace(settings, guidance_rescale=1.0))[-1]
    half = branches(model, make_batch(), replace(settings, guidance_rescale=0.5))[-1]
    torch.testing.assert_close(full.flatten(1).std(dim=1), conditional.flatten(1).std(dim=1))
    torch.testing.assert_close(half, (guided + full) / 2)
    torch.testing.assert_close(full / guided, (full / guided)[:, :1, :1, :1].expand_as(full))
